"""A digest of a table's values, by which a plan file is told from a damaged or another one."""

from __future__ import annotations

import hashlib
import re

import pyarrow as pa
import pyarrow.compute as pc

from x2i.sample import canonical_json


def table_digest(rows: pa.Table) -> str:
    """Returns a digest of a table's values that does not depend on chunking, file format or library version."""
    digest = hashlib.sha256()
    for name in rows.column_names:
        column = rows[name]
        kind = re.sub(r"<\w+: ", "<item: ", str(column.type))  # Parquet gives the items of lists another name
        digest.update(f"{name}:{kind}:{len(column)}:".encode())
        if pa.types.is_string(column.type):
            nulls = column.null_count
            digest.update(pc.is_null(column).to_numpy().tobytes() if nulls else bytes(len(column)))
            filled = pc.fill_null(column, "") if nulls else column
            digest.update(pc.binary_length(filled).to_numpy().astype("<i8").tobytes())
            for chunk in filled.chunks:
                digest.update(_characters(chunk))
        else:
            digest.update(canonical_json(column.to_pylist()).encode())
    return digest.hexdigest()


def _characters(chunk: pa.StringArray) -> memoryview | bytes:
    """Returns the UTF-8 of all strings of an array without nulls, one after the other, without copying it."""
    _, offsets, data = chunk.buffers()
    if data is None or not len(chunk):
        return b""
    bounds = memoryview(offsets).cast("i")
    return memoryview(data)[bounds[chunk.offset] : bounds[chunk.offset + len(chunk)]]
