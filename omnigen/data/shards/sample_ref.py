"""A reference to one sample of a catalog, made from its columns cheaply: a run makes millions of them."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ImageSpan = tuple[int, int, int, int]
"""Where an image lies, and its size: byte offset and byte count in its tar, width and height in pixels."""

IMAGE = np.dtype([("offset", "<i8"), ("bytes", "<u4"), ("width", "<i4"), ("height", "<i4")])
"""An ImageSpan as columns keep it."""
_SPAN = struct.Struct("<qIii")
assert _SPAN.size == IMAGE.itemsize


class SampleRef(NamedTuple):
    """One sample: what it takes to read it, without its pixels.

    tar: where the shard lies, a path or a URL's. images: the spans of every input in placeholder order, then of the
    output. mirrorable: whether it means the same with all its images mirrored, as far as its recipe knows.
    """

    key: str
    task: str
    instruction: str
    tar: Path
    images: tuple[ImageSpan, ...]
    mirrorable: bool

    @property
    def num_inputs(self) -> int:
        return len(self.images) - 1


class SampleTable:
    """Makes references from columns, whose memory is read as Python's numbers and strings without scalars in between.

    The arguments are the catalog's: see there. tars: of its shards.
    """

    def __init__(
        self,
        keys: pa.ChunkedArray,
        instructions: pa.ChunkedArray,
        tasks: Sequence[str],
        task_id: npt.NDArray[np.int16],
        tars: Sequence[Path],
        shard_id: npt.NDArray[np.int32],
        images: npt.NDArray[np.void],
        first_image: npt.NDArray[np.int64],
        mirrorable: npt.NDArray[np.bool_],
    ) -> None:
        assert images.dtype == IMAGE, "ImageSpan and its dtype differ"
        self._keys, self._instructions = _Texts(keys), _Texts(instructions)
        self._tasks, self._task_id = tasks, task_id.data
        self._tars, self._shard_id = tars, shard_id.data
        self._images, self._first_image = images.view(np.uint8).data, first_image.data
        self._mirrorable = mirrorable.data

    def sample_ref(self, number: int) -> SampleRef:
        """Returns sample `number`, from 0. Raises IndexError if there is none."""
        if number < 0:
            raise IndexError(f"sample {number}: the first one is 0")
        first, end = self._first_image[number] * _SPAN.size, self._first_image[number + 1] * _SPAN.size
        return SampleRef(
            self._keys[number],
            self._tasks[self._task_id[number]],
            self._instructions[number],
            self._tars[self._shard_id[number]],
            tuple(_SPAN.iter_unpack(self._images[first:end])),
            bool(self._mirrorable[number]),
        )


class _Texts:
    """The strings of a column of large strings, without nulls: UTF-8 end to end, and 64-bit offsets into it."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        assert column.type == pa.large_string()
        assert not column.null_count
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        self._firsts = np.cumsum([0, *map(len, chunks)]).tolist()
        self._chunks: list[tuple[memoryview, memoryview]] = []
        for chunk in chunks:
            _, ends, letters = chunk.buffers()
            bounds = np.frombuffer(ends, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            self._chunks.append((bounds.data, memoryview(letters if letters is not None else b"")))

    def __getitem__(self, number: int) -> str:
        chunk = bisect_right(self._firsts, number) - 1
        bounds, letters = self._chunks[chunk]
        at = number - self._firsts[chunk]
        return str(letters[bounds[at] : bounds[at + 1]], "utf-8")
