"""Decoding stored images ahead of their use, in threads, a bounded number at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from x2i.store.images import read_stored_image

AHEAD = 32
"""Decoded images that wait for the model at most: 100 MB at a megapixel each."""


def decoded(
    root: Path, partition: str, places: Sequence[Mapping[str, Any]], threads: ThreadPoolExecutor
) -> Iterator[np.ndarray]:
    """Yields the pixels, uint8 RGB (height, width, 3), of the images at `places`, in order.

    places: each with key, data_offset, data_size.

    Raises as `read_stored_image`.
    """
    waiting: deque[Future[np.ndarray]] = deque()
    following = iter(places)
    for place in following:
        waiting.append(threads.submit(read_stored_image, root, partition, place))
        if len(waiting) >= AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
