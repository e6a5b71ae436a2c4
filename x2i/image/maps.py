"""Maps as images: 16-bit gray PNG for what 8 bits would flatten, and maps decoded as they are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def encode_map16(levels_HW: NDArray[np.uint16]) -> bytes:
    """Returns a 16-bit gray PNG of `levels_HW`, 0 to 65535. Equal maps give equal bytes."""
    import cv2

    assert levels_HW.dtype == np.uint16, levels_HW.dtype
    done, data = cv2.imencode(".png", levels_HW, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert done
    return data.tobytes()


def decode_map16(data: bytes) -> NDArray[np.uint16]:
    """Returns the levels_HW of a 16-bit gray PNG. Raises ValueError if `data` is something else."""
    import cv2

    levels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.ndim != 2:
        raise ValueError("not a 16-bit gray PNG")
    return levels


def decode_map(data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Returns an encoded map as it is stored: uint8 or uint16, gray (height, width) or RGB (height, width, 3).

    An alpha channel is left out. Raises ValueError if `data` is something else.
    """
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype not in (np.uint8, np.uint16) or (values.ndim == 3 and values.shape[2] < 3):
        raise ValueError("not a gray or RGB image of 8 or 16 bits")
    return np.ascontiguousarray(values[..., 2::-1]) if values.ndim == 3 else values
