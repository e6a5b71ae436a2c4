"""Checks of a column or relation: its file can be read whole, its keys are of images there are, its images decode."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from x2i.reasons import DroppedError
from x2i.store.files.atomic import read_table
from x2i.store.files.cache import local_copy
from x2i.store.images import MAX_PIXELS
from x2i.store.verify.checks import FileCheck
from x2i.tables import image_fields


def check_table(
    path: Path, file: str, deep: bool = False, image_index: Path | None = None, owned: bool = True
) -> FileCheck:
    """Checks a Parquet file, batch by batch, and with `deep` every image in its fields.

    image_index: the index of the image partition that a column's partition belongs to; None for a relation. If it is
    missing although a commit owns it, that is named elsewhere.
    """
    check = FileCheck(file)
    keys: list[pa.Array] = []
    try:
        check.bytes = path.stat().st_size
        with pq.ParquetFile(local_copy(path)) as table:
            fields = image_fields(table.schema_arrow) if deep else ()
            for batch in table.iter_batches():
                keys += [batch["key"]] if "key" in batch.schema.names else []
                for field in fields:
                    _check_images(check, field, batch)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        check.add(f"not a readable Parquet file: {error}")
        return check
    if image_index is not None and keys:
        _check_column_keys(check, pa.chunked_array(keys), image_index, owned)
    return check


def _check_column_keys(check: FileCheck, keys: pa.ChunkedArray, image_index: Path, owned: bool) -> None:
    known = pa.array([], pa.string())
    try:
        if image_index.exists():
            known = read_table(image_index, ["key"])["key"].combine_chunks()
        elif owned:
            return
    except (OSError, UnicodeDecodeError, pa.ArrowException):
        return
    unknown = pc.unique(keys.filter(pc.invert(pc.is_in(keys, known))))
    if len(unknown):
        check.add(f"{len(unknown)} keys are not images of this partition, for example {pc.min(unknown).as_py()!r}")


def _check_images(check: FileCheck, field: str, batch: pa.RecordBatch) -> None:
    from x2i.image import decode

    names = batch["key"].to_pylist() if "key" in batch.schema.names else range(batch.num_rows)
    for name, image in zip(names, batch[field].to_pylist()):
        if image is None:
            continue
        check.images += 1
        try:
            decode(image["bytes"] or b"", max_pixels=MAX_PIXELS)
        except DroppedError as error:
            check.add(f"the image {field} of {name!r} does not decode: {error}")
