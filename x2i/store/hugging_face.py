"""Training samples or images as a Hugging Face dataset in memory-mapped Arrow files of its own cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from x2i.errors import UserError, missing_extra
from x2i.store.image_rows import ImageRows
from x2i.store.shards import Shard
from x2i.tables import image_fields


def hugging_face_images(rows: ImageRows) -> Any:
    """Returns a `datasets.Dataset` of stored images. Raises UserError if there is none, or without `datasets`.

    Hashes of 64 bits, which `datasets` cannot hold as numbers, are 16 hexadecimal digits.
    """
    try:
        from datasets import Dataset, Features, Image
    except ModuleNotFoundError as error:
        raise missing_extra(error, "Dataset.to_hf") or error from error
    if next(iter(rows.rows()), None) is None:
        raise UserError("to_hf: no image is left: check `where`")
    schema = rows.schema()
    plain = pa.schema([field.with_type(pa.string()) if field.type == pa.uint64() else field for field in schema])
    features = Features({**Features.from_arrow_schema(plain), **{name: Image() for name in image_fields(schema)}})
    # `datasets` keeps what it made under the digest of these arguments
    arguments = {"rows": rows, "state": (tuple(rows.state()),)}
    return Dataset.from_generator(_images, features=features, gen_kwargs=arguments)


def _images(rows: ImageRows, state: object) -> Iterator[dict[str, Any]]:
    hashes = [field.name for field in rows.schema() if field.type == pa.uint64()]
    for row in rows.rows():
        yield {**row, **{name: f"{row[name]:016x}" for name in hashes if row[name] is not None}}


def hugging_face_dataset(shards: list[Shard]) -> Any:
    """Returns a `datasets.Dataset` of the samples: key, task, instruction, input_images, output_image.

    The files are copied into the cache of Hugging Face (HF_DATASETS_CACHE), once for each content of the shards.
    Raises UserError if `datasets` is not installed.
    """
    try:
        from datasets import Dataset, Features, Image, List, Value
    except ModuleNotFoundError as error:
        raise missing_extra(error, "Dataset.to_hf") or error from error
    features = Features(
        {
            **{name: Value("string") for name in ("key", "task", "instruction")},
            "input_images": List(Image()),
            "output_image": Image(),
        }
    )
    # The cache is found by the arguments: size and time tell apart what a path held before.
    files = [(str(shard.tar), shard.tar.stat().st_size, shard.tar.stat().st_mtime) for shard in shards]
    return Dataset.from_generator(_samples, features=features, gen_kwargs={"files": files})


def _samples(files: list[tuple[str, int, float]]) -> Iterator[dict[str, Any]]:
    for tar, _, _ in files:
        shard = Shard(Path(tar))
        for row in shard.index().to_pylist():
            *inputs, output = ({"bytes": data, "path": None} for data in shard.image_data(row))
            words = {name: row[name] for name in ("key", "task", "instruction")}
            yield {**words, "input_images": inputs, "output_image": output}
