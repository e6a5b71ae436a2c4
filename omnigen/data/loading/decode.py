"""From an image's bytes in a shard to prepared pixels, decoding no more of them than the phase's resolution needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnigen.images import decoding_divisor, prepare_image, prepare_reduced
from x2i.image import decode, read_header
from x2i.reasons import DroppedError, Reason

JPEG_START = b"\xff\xd8\xff"
FIRST_TURNED = 5  # from this EXIF orientation on, width and height change places


def decode_prepared(data: bytes, size: tuple[int, int], max_side: int) -> NDArray[np.uint8]:
    """Returns the image in `data`, uint8 RGB (height, width, 3), prepared to at most `max_side` pixels a side.

    A JPEG that the preparation would halve k times is decoded at 1 / 2^k (at most 1 / 8) in the first place: a tenth of
    the time, and pixels that differ little (docs/guides/encode.md says how much). Other formats are decoded whole.

    size: its (width, height), upright, by the index. Raises DroppedError if it cannot be decoded or has another size.
    """
    divisor = decoding_divisor(*size, max_side)
    if divisor == 1 or not data.startswith(JPEG_START):
        whole = decode(data)
        _require_size((whole.shape[1], whole.shape[0]), size)
        return prepare_image(whole, max_side)
    header = read_header(data)
    turned = header.jpeg is not None and header.jpeg.orientation >= FIRST_TURNED
    _require_size((header.height, header.width) if turned else (header.width, header.height), size)
    # The longest side of the reduced image, exactly: the decoder takes the smallest of its scales that is no less.
    reduced = decode(data, header=header, target_side=-(-max(size) // divisor))
    return prepare_reduced(reduced, size, divisor, max_side)


def _require_size(found: tuple[int, int], size: tuple[int, int]) -> None:
    if found != size:
        raise DroppedError(Reason.IMAGE_CORRUPT, f"{found[0]}x{found[1]}, its index says {size[0]}x{size[1]}")
