"""Posteriors of a shard's images on disk, and their reader: what a codec would give, without decoding or encoding.

NAME.safetensors holds one tensor for every size of latents in the shard, called "<height>x<width>", of shape (images,
posterior channels, height, width): for dct:CHANNELS the latents; for sdxl the mean, then the standard deviation, of
each latent before shift and scaling, from which training samples anew every time. NAME.parquet says where each image
is (LATENTS_SCHEMA): `start` and `bytes` locate it in the file, so that one read without any parsing brings it. An
image that cannot be decoded has a reason; its part of the tensor is zeros and is never read.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from omnigen.cache.files import CacheKey, cache_file, invalid_reason, read_record
from omnigen.data.loading.sample import PlannedSample, Reader
from omnigen.data.shards.sample_ref import ImageSpan
from x2i.errors import RunError
from x2i.reasons import DroppedError, Reason
from x2i.store.files.atomic import read_table
from x2i.store.files.ranges import RangeReader
from x2i.store.shards import Shard

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TENSORS, INDEX = ".safetensors", ".parquet"
OPEN_SHARDS = 1024  # whose index a reader holds at a time, some 50 kB each
LATENTS_SCHEMA = pa.schema(
    [
        ("row", pa.int32()),  # of the sample in the shard's index
        ("key", pa.string()),  # of the sample
        ("image", pa.int16()),  # its inputs from 1 in placeholder order, then its output
        ("tar_offset", pa.int64()),  # of the encoded image in the shard's tar
        ("tensor", pa.string()),
        ("position", pa.int32()),  # in the tensor's first dimension
        ("start", pa.int64()),  # byte of the file at which the posterior begins
        ("bytes", pa.int32()),
        ("height", pa.int32()),  # of the latents
        ("width", pa.int32()),
        ("crc32", pa.uint32()),
        ("reason", pa.string()),  # why there are none; "" if there are
        ("detail", pa.string()),
    ]
)


@dataclass(frozen=True)
class LatentShard:
    """Where the posteriors of one shard are. file: its safetensors; channels: of the posteriors."""

    file: Path
    dtype: torch.dtype
    channels: int


class LatentReader:
    """Reads posteriors of the shards that have them, and leaves the others to `pixels`.

    shards: path of a tar -> its cache.
    """

    def __init__(self, shards: Mapping[Path, LatentShard], pixels: Reader) -> None:
        self._shards, self._pixels = dict(shards), pixels
        self._open: OrderedDict[Path, _Index] = OrderedDict()
        self._files = RangeReader()

    def read(self, tar: Path, spans: Sequence[ImageSpan]) -> Iterator[Tensor]:
        """Yields the posteriors (P, H / 8, W / 8), in the cache's dtype, of the images at `spans` of `tar`; of a shard
        without a cache, what `pixels` reads.

        Raises DroppedError at an image that could not be decoded when it was encoded, or whose posterior is damaged.
        """
        if tar not in self._shards:
            yield from self._pixels.read(tar, spans)
            return
        shard, index = self._shards[tar], self._index(tar)
        for offset, _, _, _ in spans:
            yield self._posterior(shard, index, index.row(offset))

    def fetch_ahead(self, samples: Sequence[PlannedSample]) -> None:
        """Asks for the pixels of samples whose shard has no cache."""
        self._pixels.fetch_ahead([planned for planned in samples if planned.ref.tar not in self._shards])

    def _posterior(self, shard: LatentShard, index: _Index, row: int) -> Tensor:
        if row in index.reasons:
            raise DroppedError(*index.reasons[row])
        data = self._files.read(shard.file, int(index.start[row]), int(index.bytes[row]))
        if zlib.crc32(data) != index.crc32[row]:
            raise DroppedError(Reason.IMAGE_CORRUPT, f"its latents in {shard.file.name} are damaged; encode it again")
        shape = shard.channels, int(index.height[row]), int(index.width[row])
        return torch.frombuffer(bytearray(data), dtype=shard.dtype).view(shape)

    def _index(self, tar: Path) -> _Index:
        if tar in self._open:
            self._open.move_to_end(tar)
            return self._open[tar]
        index = self._open[tar] = _Index.of(self._shards[tar].file.with_suffix(INDEX))
        while len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return index


@dataclass(frozen=True)
class _Index:
    """The columns of LATENTS_SCHEMA that reading takes, in the order of `tar_offset`; reasons: by row of them."""

    file: Path
    tar_offset: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    crc32: npt.NDArray[np.uint32]
    reasons: Mapping[int, tuple[Reason, str]]

    @classmethod
    def of(cls, file: Path) -> _Index:
        table = read_table(file).sort_by("tar_offset")
        reasons = {
            row: (Reason(reason), detail)
            for row, (reason, detail) in enumerate(
                zip(table.column("reason").to_pylist(), table.column("detail").to_pylist())
            )
            if reason
        }
        names = ("tar_offset", "start", "bytes", "height", "width", "crc32")
        return cls(file=file, reasons=reasons, **{name: table.column(name).to_numpy() for name in names})

    def row(self, offset: int) -> int:
        row = int(np.searchsorted(self.tar_offset, offset))
        if row == len(self.tar_offset) or self.tar_offset[row] != offset:
            raise RunError(f"{self.file}: lacks the image at byte {offset} of the shard; run omnigen encode again")
        return row


def find_latents(
    shards: Sequence[Shard], key: CacheKey, channels: int
) -> tuple[dict[Path, LatentShard], dict[Path, str]]:  # fmt: skip
    """Returns the caches that may be used, and why the others may not, both by the path of the shard's tar.

    channels: of the codec's posteriors.
    """
    found: dict[Path, LatentShard] = {}
    problems: dict[Path, str] = {}
    for shard in shards:
        reason = invalid_reason(shard, key)
        record = read_record(shard, key) or {}
        dtype = DTYPES.get(str(record.get("dtype")))
        if not reason and (dtype is None or record.get("posterior_channels") != channels):
            reason = "its record is damaged"
        if reason or dtype is None:
            problems[shard.tar] = reason
        else:
            found[shard.tar] = LatentShard(cache_file(shard, key, TENSORS), dtype, channels)
    return found, problems
