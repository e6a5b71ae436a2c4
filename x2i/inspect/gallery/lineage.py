"""From a sample back to the images it was made of: their records, and what every column says of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from x2i.image_record import ImageRecord
from x2i.store import Dataset, paths
from x2i.store.files.cache import local_copy
from x2i.store.images import record_from_row

LONG_LIST = 12


@dataclass(frozen=True)
class SourceImage:
    """An image of the store with its columns' rows: column name -> rows as dictionaries, without their key."""

    record: ImageRecord
    columns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def sources_by_uid(dataset: Dataset, uids: Iterable[str]) -> dict[str, SourceImage]:
    """Returns the images with these uids; an uid that the store does not hold (a foreign sample) is left out."""
    return {source.record.uid: source for source in _sources(dataset, "uid", sorted(set(uids)))}


def source_by_key(dataset: Dataset, key: str) -> SourceImage | None:
    """Returns the image with this key, dropped ones included, or None."""
    return next(iter(_sources(dataset, "key", [key])), None)


def presentable(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a column's row with what no person reads shortened: embeddings, masks, pictures; hashes in hex."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        pictures = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
        if any(isinstance(one.get("bytes"), bytes) for one in pictures):
            shown[name] = f"{len(pictures)} picture{'s' * (len(pictures) != 1)}"
            continue
        if isinstance(value, list) and len(value) > LONG_LIST:
            shown[name] = f"{len(value)} numbers"
        elif name == "mask_counts" and value:
            shown[name] = f"{len(value)} characters of COCO RLE"
        elif name == "phash" and value is not None:
            shown[name] = f"{value:016x}"
        elif isinstance(value, float):
            shown[name] = round(value, 4)
        elif value is not None and value != "":
            shown[name] = value
    return shown


def _sources(dataset: Dataset, field_name: str, values: list[str]) -> list[SourceImage]:
    files = [paths.image_index(dataset.root, commit.partition) for commit in dataset.image_commits()]
    if not files or not values:
        return []
    table = pads.dataset(files, format="parquet").to_table(filter=pc.field(field_name).isin(values))
    records = [record_from_row(row) for row in table.to_pylist()]
    columns = _columns(dataset, [record.key for record in records])
    return [SourceImage(record, dict(columns[record.key])) for record in records]


def _columns(dataset: Dataset, keys: list[str]) -> defaultdict[str, dict[str, list[dict[str, Any]]]]:
    partitions: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys:
        partitions[key.rsplit("-", 1)[0]].append(key)
    found: defaultdict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for folder in sorted((dataset.root / "columns").glob("*/")):
        for partition, members in partitions.items():
            path = paths.column_file(dataset.root, folder.name, partition)
            if path.exists():
                for row in pq.read_table(local_copy(path), filters=[("key", "in", members)]).to_pylist():
                    found[row.pop("key")].setdefault(folder.name, []).append(row)
    return found
