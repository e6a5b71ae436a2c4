"""Encodes the images of one shard: the file's layout follows from the shard's index, and every posterior has its span.

The bytes depend on the shard, the codec and the dtype alone: not on the batch, the number of threads or a kill (on
CUDA, where batches are encoded together, on the batch to rounding).
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from omnigen.cache.files import CacheKey, cache_file
from omnigen.cache.latents import DTYPES, INDEX, LATENTS_SCHEMA, TENSORS
from omnigen.cache.record import begin, commit
from omnigen.codecs.base import Codec
from omnigen.codecs.posteriors import posteriors
from omnigen.data.loading.decode import decode_prepared
from omnigen.images import prepared_size
from omnigen.weights.writer import safetensors_header
from x2i.errors import UserError
from x2i.reasons import Dropped, DroppedError
from x2i.store.files.atomic import atomic_file, write_table
from x2i.store.files.tar import read_range
from x2i.store.shards import Shard


@dataclass(frozen=True)
class LatentSpan:
    """One image and where its posterior goes. size: (width, height) by the index. height, width: of the latents."""

    row: int
    key: str
    image: int
    tar_offset: int
    tar_bytes: int
    size: tuple[int, int]
    height: int
    width: int
    position: int
    start: int
    bytes: int

    @property
    def tensor(self) -> str:
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class FileLayout:
    """The header of a shard's safetensors file, its spans by tensor, row and image, and its length in bytes."""

    header: bytes
    spans: tuple[LatentSpan, ...]
    num_bytes: int


@dataclass(frozen=True)
class LatentsJob:
    """What is done to every shard. batch: images encoded together on CUDA. workers: threads that decode ahead."""

    codec: Codec
    key: CacheKey
    side: int
    dtype: str
    device: torch.device
    batch: int
    workers: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a cache is made with beside its key; another value makes it anew."""
        return {"dtype": self.dtype, "posterior_channels": self.codec.posterior_channels}

    def run(self, shard: Shard, on_images: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
        """Encodes `shard` and returns its record. Raises UserError if a value does not fit the dtype.

        on_images: told how many images more are done.
        """
        identity = begin(shard, self.key)
        layout = self.layout(shard)
        verdicts: dict[int, Dropped] = {}
        sums = [0] * len(layout.spans)
        with atomic_file(cache_file(shard, self.key, TENSORS)) as stream:
            stream.write(layout.header)
            stream.truncate(layout.num_bytes)
            for numbers, images in self._decoded(shard, layout, verdicts):
                for number, posterior in zip(numbers, posteriors(images, self.codec, self.device, self.batch)):
                    data = self._bytes(posterior, layout.spans[number])
                    stream.seek(layout.spans[number].start)
                    stream.write(data)
                    sums[number] = zlib.crc32(data)
                on_images(len(numbers))
        on_images(len(verdicts))
        write_table(cache_file(shard, self.key, INDEX), _index(layout.spans, sums, verdicts))
        failed = dict(sorted(Counter(str(verdict.reason) for verdict in verdicts.values()).items()))
        counts = {"images": len(layout.spans) - len(verdicts), "undecodable": failed}
        return commit(shard, self.key, identity, [TENSORS, INDEX], self.facts, counts)

    def layout(self, shard: Shard) -> FileLayout:
        """Lays out the file of a shard by its index; reads no image."""
        channels, dtype = self.codec.posterior_channels, DTYPES[self.dtype]
        columns = shard.index(["key", "image_sizes", "image_offsets", "image_bytes"]).to_pylist()
        found = []
        for row, entry in enumerate(columns):
            spans = zip(entry["image_offsets"], entry["image_bytes"], entry["image_sizes"])
            for image, (offset, count, (width, height)) in enumerate(spans, 1):
                across, down = (side // self.codec.downsample for side in prepared_size(width, height, self.side))
                found.append((down, across, row, image, entry["key"], offset, count, (width, height)))
        found.sort(key=lambda one: one[:4])
        groups = [(shape, list(group)) for shape, group in groupby(found, key=lambda one: one[:2])]
        tensors = (
            (f"{down}x{across}", dtype, (len(group), channels, down, across)) for (down, across), group in groups
        )
        metadata = {name: str(value) for name, value in {**self.key.identity, **self.facts}.items()}
        header = safetensors_header(tensors, metadata)
        base = len(header)
        laid: list[LatentSpan] = []
        for (down, across), group in groups:
            stride = channels * down * across * dtype.itemsize
            for position, (_, _, row, image, key, offset, count, size) in enumerate(group):
                laid.append(LatentSpan(row, key, image, offset, count, size, down, across, position, base, stride))
                base += stride
        return FileLayout(header, tuple(laid), base)

    def _decoded(
        self, shard: Shard, layout: FileLayout, verdicts: dict[int, Dropped]
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Yields (numbers of spans, images) of equal size, up to `batch`; notes those that cannot be decoded."""

        def read(span: LatentSpan) -> Tensor | Dropped:
            try:
                data = read_range(shard.tar, span.tar_offset, span.tar_bytes)
                return torch.from_numpy(decode_prepared(data, span.size, self.side).copy())
            except DroppedError as error:
                return error.verdict

        numbers: list[int] = []
        images: list[Tensor] = []
        for number, image in enumerate(_ahead(read, layout.spans, self.workers)):
            shape = images[0].shape if images else None
            if isinstance(image, Dropped):
                verdicts[number] = image
                continue
            if images and (image.shape != shape or len(images) == self.batch):
                yield numbers, images
                numbers, images = [], []
            numbers.append(number)
            images.append(image)
        if images:
            yield numbers, images

    def _bytes(self, posterior: Tensor, span: LatentSpan) -> bytes:
        kept = posterior.to(DTYPES[self.dtype]).cpu().contiguous()
        if not torch.isfinite(kept).all():
            raise UserError(f"sample {span.key}, image {span.image}: a value is too large for {self.dtype}: give fp32")
        data = kept.view(torch.uint8).numpy().tobytes()
        assert len(data) == span.bytes, f"{span.key}: the codec gave {tuple(posterior.shape)}"
        return data


def _ahead(
    read: Callable[[LatentSpan], Tensor | Dropped], spans: Sequence[LatentSpan], workers: int
) -> Iterator[Tensor | Dropped]:  # fmt: skip
    """Yields read(span) in order, read by threads that go some images ahead; without threads if workers is 0."""
    if not workers:
        yield from map(read, spans)
        return
    waiting: deque[Future[Tensor | Dropped]] = deque()
    with ThreadPoolExecutor(workers) as threads:
        for span in spans:
            waiting.append(threads.submit(read, span))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _index(spans: Sequence[LatentSpan], sums: Sequence[int], verdicts: dict[int, Dropped]) -> pa.Table:
    names = [name for name in LATENTS_SCHEMA.names if name not in ("crc32", "reason", "detail")]
    rows = []
    for number, span in enumerate(spans):
        verdict = verdicts.get(number)
        told = {"reason": str(verdict.reason), "detail": verdict.detail} if verdict else {"reason": "", "detail": ""}
        rows.append({**{name: getattr(span, name) for name in names}, "crc32": sums[number], **told})
    return pa.Table.from_pylist(rows, schema=LATENTS_SCHEMA)
