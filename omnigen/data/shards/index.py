"""The index of one shard as the catalog keeps it: plain columns, a few dozen bytes a sample beside its words."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnigen.data.shards.sample_ref import IMAGE
from x2i.errors import UserError
from x2i.sample import IMAGE_TOKEN_PATTERN, placeholder, wrong_marks
from x2i.store.files.tar import HEADER_BYTES
from x2i.store.shards import SHARD_SCHEMA

COLUMNS = (
    "key",
    "task",
    "instruction",
    "image_sizes",
    "json_offset",
    "json_size",
    "image_names",
    "image_offsets",
    "image_bytes",
    "uids",
    "mirrorable",
)
KEY_RULE = r"^[^./\\\x00-\x1f]{1,250}$"
NAME_RULE = r"^(?:input_[1-9][0-9]*|output)\.(?:jpg|jpeg|png|webp)$"


@dataclass(frozen=True)
class ShardIndex:
    """Samples of one shard, in file order.

    keys, instructions, tasks: large strings. images: IMAGE, inputs in placeholder order, then the output, sample after
    sample; num_images: int32 per sample. json_offset, json_size: int64 per sample. uids: a list of strings per sample.
    mirrorable: bool per sample.
    """

    keys: pa.Array
    instructions: pa.Array
    tasks: pa.Array
    images: npt.NDArray[np.void]
    num_images: npt.NDArray[np.int32]
    json_offset: npt.NDArray[np.int64]
    json_size: npt.NDArray[np.int64]
    uids: pa.Array
    mirrorable: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.keys)


def read_shard_index(source: Path | bytes, name: str) -> ShardIndex:
    """Reads and checks an index file, given as a path or as its bytes; `name` is what errors call it.

    Raises UserError if it is not readable, lacks a column, or holds what no shard may: an empty or path-like key, a
    member that is not an image, lists of unequal lengths, sizes and places below zero, instructions that
    mark other images than the inputs.
    """
    try:
        with pq.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            schema = file.schema_arrow
            _require_columns(schema, name)
            table = file.read(list(COLUMNS), use_threads=False)
        table.validate(full=True)  # Parquet's strings may hold any bytes, and its offsets any numbers
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not a readable Parquet file: {error}. Copy it again, or rebuild the shard") from error
    for column in COLUMNS:
        if table.column(column).null_count:
            raise UserError(f"{name}: column {column}: {table.column(column).null_count} rows are empty, expected none")
    offsets, counts, names, sizes = (
        _flat(table, c) for c in ("image_offsets", "image_bytes", "image_names", "image_sizes")
    )
    num_images = pc.list_value_length(table.column("image_offsets")).to_numpy()
    for other in ("image_bytes", "image_names", "image_sizes"):
        if not np.array_equal(num_images, pc.list_value_length(table.column(other)).to_numpy()):
            raise UserError(f"{name}: column {other}: expected one entry for every entry of image_offsets")
    pairs = sizes.flatten().to_numpy(zero_copy_only=False)
    if len(pairs) != 2 * len(offsets) or (len(num_images) and num_images.min() < 1):
        raise UserError(f"{name}: column image_sizes: expected (width, height) of every image, at least one a sample")
    images = np.empty(len(offsets), IMAGE)
    images["offset"], images["bytes"] = offsets.to_numpy(), counts.to_numpy()
    images["width"], images["height"] = pairs[0::2], pairs[1::2]
    index = ShardIndex(
        keys=_text(table, "key"),
        instructions=_text(table, "instruction"),
        tasks=_text(table, "task"),
        images=images,
        num_images=num_images,
        json_offset=table.column("json_offset").to_numpy(),
        json_size=table.column("json_size").to_numpy(),
        uids=table.column("uids").combine_chunks(),
        mirrorable=table.column("mirrorable").to_numpy(),
    )
    _require_sane(index, counts.to_numpy(), names, name)
    _require_marks(index, name)
    return index


def _require_columns(schema: pa.Schema, name: str) -> None:
    for column in COLUMNS:
        expected = SHARD_SCHEMA.field(column).type
        found = schema.field(column).type if column in schema.names else "nothing"
        if found != expected:
            raise UserError(f"{name}: column {column}: expected {expected}, found {found}. Rebuild the shard")


def _require_sane(index: ShardIndex, counts: npt.NDArray[np.int64], names: pa.Array, name: str) -> None:
    _require_match(index.keys, KEY_RULE, name, "key", "a name without folders")
    _require_match(names, NAME_RULE, name, "image_names", "input_1.jpg, ..., output.png")
    first = min(index.json_offset.min(initial=HEADER_BYTES), index.images["offset"].min(initial=HEADER_BYTES))
    shortest = min(index.json_size.min(initial=0), counts.min(initial=0))
    if first < HEADER_BYTES or shortest < 0 or counts.max(initial=0) >= 2**32:
        raise UserError(f"{name}: offsets and sizes that no tar has. Rebuild the shard")
    if index.images["width"].min(initial=1) < 1 or index.images["height"].min(initial=1) < 1:
        raise UserError(f"{name}: column image_sizes: expected sides of at least 1 pixel. Rebuild the shard")


def _require_marks(index: ShardIndex, name: str) -> None:
    """Raises UserError unless every instruction passes `wrong_marks`; all of them are looked at together."""
    inputs = index.num_images - 1
    marks = pc.count_substring_regex(index.instructions, IMAGE_TOKEN_PATTERN.pattern).to_numpy()
    known = np.zeros_like(marks)
    unmarked = np.zeros(len(marks), np.bool_)
    for number in range(1, int(inputs.max(initial=0)) + 1):
        rows = np.flatnonzero(inputs >= number)
        count = pc.count_substring(index.instructions.take(pa.array(rows)), placeholder(number)).to_numpy()
        known[rows] += count
        unmarked[rows] |= count == 0
    wrong = np.flatnonzero((known != marks) | unmarked)
    if wrong.size:
        row = int(wrong[0])
        problem = wrong_marks(index.instructions[row].as_py(), int(inputs[row]))
        raise UserError(f"{name}: sample {index.keys[row].as_py()!r}: {problem}. Rebuild the shard")


def _require_match(values: pa.Array, rule: str, name: str, column: str, expected: str) -> None:
    wrong = values.filter(pc.invert(pc.match_substring_regex(values, rule)))
    if len(wrong):
        raise UserError(f"{name}: column {column}: found {wrong[0].as_py()!r}, expected {expected}: refused")


def _flat(table: pa.Table, column: str) -> pa.Array:
    return table.column(column).combine_chunks().flatten()


def _text(table: pa.Table, column: str) -> pa.Array:
    return table.column(column).cast(pa.large_string()).combine_chunks()
