"""A folder that Hugging Face `datasets` opens and streams: the shards as they are, a dataset card, Croissant metadata.

WebDataset tars are the only layout of theirs that keeps a sample's several images together, streams, and needs no
second encoding; the card's `configs` say which tars belong to which task.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import pyarrow as pa

from x2i.errors import UserError
from x2i.exporters.base import Exporter
from x2i.exporters.card import card, describe
from x2i.exporters.card_data import Publication, construction, counted
from x2i.exporters.configs import configs
from x2i.exporters.croissant import croissant
from x2i.exporters.folder import ExportFolder
from x2i.exporters.selection import SelectedShard
from x2i.options import Option
from x2i.sample import Sample
from x2i.store import Dataset, paths
from x2i.store.files.atomic import atomic_file, write_bytes, write_json, write_table
from x2i.store.files.tar import TarShardWriter, read_range
from x2i.store.reshard import add_copy, read_members
from x2i.store.shards import SHARD_SCHEMA

CHUNK = 8 << 20


@dataclass(frozen=True)
class HuggingFace(Exporter):
    """shards/ with README.md and croissant.json."""

    name: Annotated[str | None, Option("The dataset's name. Default: as the dataset is called.")] = None
    contact: Annotated[str, Option("Where takedown requests go: an address or a page. Do not publish without one.")] = (
        ""
    )
    url: Annotated[str, Option("The page where it will be published, for the Croissant metadata.")] = ""
    creator: Annotated[str, Option("Who made it, for the Croissant metadata.")] = "unknown"
    date: Annotated[str | None, Option("Date of publication, as 2026-01-31. Default: today.")] = None
    version: Annotated[str, Option("Version of the data, for the Croissant metadata.")] = "1.0.0"

    title = "the shards with a dataset card (README.md) and Croissant metadata (croissant.json)"

    def __post_init__(self) -> None:
        try:
            datetime.date.fromisoformat(self.date or "2026-01-31")
        except ValueError as error:
            raise UserError(f"--date {self.date}: expected a date such as 2026-01-31") from error

    def write_shard(self, folder: ExportFolder, shard: SelectedShard) -> dict[str, Any]:
        """Copies a shard, or its first samples, with an index beside it.

        Raises UserError if its samples differ in their members: `datasets` reads no such tar.
        """
        rows = shard.rows()
        kinds = {tuple(row["image_names"]) for row in rows}
        if len(kinds) > 1:
            raise UserError(
                f"{shard.shard.tar}: its samples differ in their image formats, which Hugging Face datasets cannot "
                f"read: run `x2i reshard` first, which puts them into shards of their own"
            )
        target = paths.shard_tar(folder.root, shard.shard.name)
        with atomic_file(target) as stream:
            if shard.is_whole:
                written = [{name: row[name] for name in SHARD_SCHEMA.names} for row in rows]
                digest, size = _copy(shard, stream)
            else:
                written, digest, size = _rewrite(shard, rows, stream)
        write_table(
            paths.shard_index(folder.root, shard.shard.name), pa.Table.from_pylist(written, schema=SHARD_SCHEMA)
        )
        licenses: Counter[str] = Counter()
        recipes: Counter[str] = Counter()
        for row in written:
            sample = Sample.from_json(read_range(target, row["json_offset"], row["json_size"]))
            licenses.update(set(sample.source.licenses))
            recipes[f"{sample.recipe.name} {sample.recipe.version}"] += 1
        return {
            "task": shard.task,
            "num_inputs": rows[0]["num_inputs"],
            "image_names": rows[0]["image_names"],
            "samples": len(rows),
            "sha256": digest,
            "bytes": size,
            "licenses": dict(sorted(licenses.items())),
            "recipes": dict(sorted(recipes.items())),
        }

    def finish(self, folder: ExportFolder, shards: Sequence[SelectedShard], source: Path) -> list[Path]:
        """Writes the card and the Croissant metadata."""
        records = [(shard.shard.name, facts) for shard in shards if (facts := folder.done(shard)) is not None]
        publication = Publication(
            name=self.name or _called(source),
            url=self.url,
            creator=self.creator,
            contact=self.contact,
            date=self.date or datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            version=self.version,
            licenses=counted(records, "licenses"),
            recipes=counted(records, "recipes"),
            **construction(source),
        )
        found = configs(records)
        write_json(folder.root / "croissant.json", croissant(publication, found, describe(publication, found)))
        write_bytes(folder.root / "README.md", card(publication, found).encode())
        return [folder.root / "README.md", folder.root / "croissant.json"]


def _called(source: Path) -> str:
    return Dataset.open(source).name if (source / paths.DATASET_FILE).exists() else source.name


def _copy(shard: SelectedShard, stream: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with shard.shard.tar.open("rb") as source:
        while chunk := source.read(CHUNK):
            stream.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _rewrite(
    shard: SelectedShard, rows: list[dict[str, Any]], stream: IO[bytes]
) -> tuple[list[dict[str, Any]], str, int]:
    tar = TarShardWriter(stream)
    tars = {(0, shard.shard.name): shard.shard.tar}
    written = [add_copy(tar, row, members) for row, members in read_members(rows, tars)]
    tar.close()
    return written, tar.sha256, tar.bytes_written
