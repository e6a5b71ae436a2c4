"""Training shards: WebDataset tars of one task and one number of inputs, each with a Parquet index of byte offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from x2i.sample import Sample, canonical_json
from x2i.store import paths
from x2i.store.files.atomic import read_table, write_table
from x2i.store.files.remote import list_files
from x2i.store.files.tar import Member, TarShardWriter, read_range, tar_shard
from x2i.store.images import extension

SHARD_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("task", pa.string()),
        ("num_inputs", pa.int32()),
        ("instruction", pa.string()),
        ("instruction_bytes", pa.int32()),  # UTF-8 length, so that a packer need not read the text
        ("image_sizes", pa.list_(pa.list_(pa.int32()))),  # (width, height) of every input, then of the output
        ("json_offset", pa.int64()),
        ("json_size", pa.int64()),
        ("image_names", pa.list_(pa.string())),  # member suffixes: input_1.jpg, ..., output.png
        ("image_offsets", pa.list_(pa.int64())),
        ("image_bytes", pa.list_(pa.int64())),
        ("uids", pa.list_(pa.string())),
        ("recipe", pa.string()),
        ("scores", pa.string()),
        ("mirrorable", pa.bool_()),
    ]
)


def sample_row(sample: Sample, image_names: Sequence[str], members: Mapping[str, Member]) -> dict[str, Any]:
    """Returns the index row (SHARD_SCHEMA) of a sample whose members, by suffix, lie in the tar at `members`."""
    return index_row(
        sample.key,
        sample.task,
        sample.instruction,
        sample.sizes,
        image_names,
        members,
        sample.source.uids,
        sample.recipe.name,
        canonical_json(dict(sample.scores)),
        sample.mirrorable,
    )


def index_row(
    key: str,
    task: str,
    instruction: str,
    sizes: Sequence[Sequence[int]],
    image_names: Sequence[str],
    members: Mapping[str, Member],
    uids: Sequence[str],
    recipe: str = "",
    scores: str = "{}",
    mirrorable: bool = False,
) -> dict[str, Any]:
    """Returns an index row (SHARD_SCHEMA).

    sizes: (width, height) of the inputs in placeholder order, then of the output; image_names: the suffixes of their
    members, in the same order.
    """
    return {
        "key": key,
        "task": task,
        "num_inputs": len(image_names) - 1,
        "instruction": instruction,
        "instruction_bytes": len(instruction.encode()),
        "image_sizes": [list(size) for size in sizes],
        "json_offset": members["json"].offset,
        "json_size": members["json"].size,
        "image_names": list(image_names),
        "image_offsets": [members[name].offset for name in image_names],
        "image_bytes": [members[name].size for name in image_names],
        "uids": list(uids),
        "recipe": recipe,
        "scores": scores,
        "mirrorable": mirrorable,
    }


@dataclass(frozen=True)
class EncodedImage:
    """Image bytes in a format that browsers and PIL read: "jpeg", "png" or "webp"."""

    data: bytes
    format: str


_VALIDATION = "_validation"


def shard_name(task: str, num_inputs: int, number: int, validation: bool = False) -> str:
    """Returns the name of a training shard, which is also its partition id: `canny_to_image-1in-00000`.

    validation: it holds samples that are kept from training, and says so: `canny_to_image_validation-1in-00000`.
    """
    return f"{task}{_VALIDATION if validation else ''}-{num_inputs}in-{paths.partition_name(number)}"


def is_validation_shard(name: str) -> bool:
    """Whether a shard of this name, with or without its folder and suffix, is kept from training."""
    return Path(name).name.partition("-")[0].endswith(_VALIDATION)


class ShardWriter:
    """Adds samples of one task and one number of inputs to a shard, in the order given."""

    def __init__(self, tar: TarShardWriter) -> None:
        self._tar = tar
        self.rows: list[dict[str, Any]] = []

    @property
    def bytes_written(self) -> int:
        return self._tar.bytes_written

    @property
    def tar_sha256(self) -> str:
        """The sha256 of the tar, in hex, once it is written."""
        return self._tar.sha256

    def add(self, sample: Sample, inputs: Sequence[EncodedImage], output: EncodedImage) -> None:
        """Appends one sample; `inputs` in placeholder order. Raises ValueError if it does not fit this shard."""
        if len(inputs) != sample.num_inputs:
            raise ValueError(f"sample {sample.key}: {len(inputs)} input images given, {sample.num_inputs} declared")
        if self.rows and (self.rows[0]["task"], self.rows[0]["num_inputs"]) != (sample.task, sample.num_inputs):
            raise ValueError(f"sample {sample.key}: a shard holds one task and one number of inputs")
        named = {f"input_{k}.{extension(image.format)}": image.data for k, image in enumerate(inputs, start=1)}
        named[f"output.{extension(output.format)}"] = output.data
        document = sample.to_json().encode()
        members = self._tar.add(sample.key, {**named, "json": document})
        self.rows.append(sample_row(sample, list(named), members))


@contextmanager
def training_shard(root: Path, name: str) -> Iterator[ShardWriter]:
    """Opens training shard `name` of the dataset at `root`; tar, then index, appear when the block succeeds."""
    with tar_shard(paths.shard_tar(root, name)) as tar:
        writer = ShardWriter(tar)
        yield writer
    write_table(paths.shard_index(root, name), pa.Table.from_pylist(writer.rows, schema=SHARD_SCHEMA))


@dataclass(frozen=True)
class Shard:
    """One training shard on disk."""

    tar: Path

    @property
    def name(self) -> str:
        return self.tar.name.removesuffix(paths.SHARD_SUFFIX)

    @property
    def index_path(self) -> Path:
        return self.tar.with_suffix(paths.INDEX_SUFFIX)

    def index(self, columns: list[str] | None = None) -> pa.Table:
        """Returns the shard's index, one row per sample, in file order (SHARD_SCHEMA).

        A whole index that does not say which samples are mirrorable says of none.
        """
        table = read_table(self.index_path, columns)
        if columns is None and "mirrorable" not in table.column_names:
            table = table.append_column("mirrorable", pa.array([False] * table.num_rows, pa.bool_()))
        return table

    def sample(self, row: dict[str, Any]) -> Sample:
        """Returns the Sample behind an index row."""
        return Sample.from_json(read_range(self.tar, row["json_offset"], row["json_size"]))

    def image_data(self, row: dict[str, Any]) -> list[bytes]:
        """Returns the encoded images of an index row: inputs in placeholder order, then the output."""
        # A sample's members lie side by side, so one read brings them all.
        places = list(zip(row["image_offsets"], row["image_bytes"]))
        start = min(offset for offset, _ in places)
        data = read_range(self.tar, start, max(offset + size for offset, size in places) - start)
        return [data[offset - start : offset - start + size] for offset, size in places]


def find_shards(root: Path) -> list[Shard]:
    """Returns the training shards under `root` (a dataset folder or a folder of shards), by name."""
    folder = root / "shards" if (root / "shards").is_dir() else root
    return [Shard(path) for path in list_files(folder, paths.SHARD_SUFFIX)]
