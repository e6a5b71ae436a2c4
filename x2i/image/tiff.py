"""Layouts of TIFF that Pillow reads without complaint and wrongly: refused, for there is nothing else to see it by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from x2i.reasons import DroppedError, Reason

_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 259, 262, 284, 339


def refuse_misread(tags: Mapping[int, Any]) -> None:
    """Raises DroppedError UNSUPPORTED_FORMAT by the tags (TIFF 6.0) of an image file directory."""
    bits = tags.get(_BITS, (1,))[0]
    if bits == 16 and tags.get(_PLANAR) == 2 and tags.get(_COMPRESSION, 1) == 1:
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, "tiff: 16-bit color planes without compression")
    if bits == 16 and tags.get(_PHOTOMETRIC) == 0:
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, "tiff: 16-bit gray in which 0 is white")
    if bits == 8 and tags.get(_SAMPLE_FORMAT, (1,))[0] == 2:
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, "tiff: signed 8-bit samples")
