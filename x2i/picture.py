"""An encoded image that a notebook shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from x2i.image_record import ImageRecord

SHOWN_SIDE = 512
"""Longest side, in pixels, of what a notebook is given to show."""


@dataclass(frozen=True)
class Picture:
    """An image as it is stored. data: the bytes of a JPEG, PNG or WebP file. record: its row of the image index."""

    data: bytes
    record: ImageRecord | None = None

    @classmethod
    def of_pixels(cls, pixels: np.ndarray) -> Picture:
        """Returns uint8 RGB pixels (height, width, 3), or gray ones (height, width), as a picture: a PNG."""
        from x2i.image import encode

        return cls(encode(pixels, "png"))

    @property
    def format(self) -> str:
        """The format of the file: "jpeg", "png" or "webp"."""
        from x2i.image import read_header

        return read_header(self.data).format

    @property
    def pixels(self) -> np.ndarray:
        """The pixels, uint8 RGB (height, width, 3). They are decoded at every call."""
        from x2i.image import decode

        return decode(self.data)

    def save(self, path: str | Path) -> None:
        """Writes the file as it is stored: its format does not follow from the suffix of `path`."""
        Path(path).write_bytes(self.data)

    def __repr__(self) -> str:
        from x2i.image import read_header

        header = read_header(self.data)
        key = f"{self.record.key}, " if self.record else ""
        return f"<Picture {key}{header.width}x{header.height} {header.format}>"

    def _repr_png_(self) -> bytes:
        """Returns what Jupyter shows: the image as PNG, at most SHOWN_SIDE pixels long."""
        from x2i.image import ResizeMode, encode, resize

        return encode(resize(self.pixels, ResizeMode.LONGEST, SHOWN_SIDE), "png")
