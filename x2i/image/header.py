"""What a file says about itself before anything is decoded: format, size, frames."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from x2i.reasons import DroppedError, Reason

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")
MAX_JPEG_SCANS = 100
"""A progressive JPEG repeats its whole decoding once per scan; a few kB can ask for thousands. Cameras write ten."""


@dataclass(frozen=True)
class ImageHeader:
    """width, height: pixels as stored, before EXIF orientation. frames: 1 for a still picture."""

    format: str
    width: int
    height: int
    frames: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def sniff(data: bytes) -> str:
    """Returns the format of `data` by its first bytes, whatever its name or Content-Type says.

    Raises DroppedError: UNSUPPORTED_FORMAT for a picture of a kind that is not read, NOT_AN_IMAGE for anything else.
    """
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
        if b"avif" in brands or b"avis" in brands:
            return "avif"
        if any(brand in brands for brand in (b"heic", b"heix", b"mif1", b"hevc", b"jxl ")):
            raise DroppedError(Reason.UNSUPPORTED_FORMAT, "heif")
    for magic, name in _UNSUPPORTED_MAGIC:
        if data.startswith(magic):
            raise DroppedError(Reason.UNSUPPORTED_FORMAT, name)
    if b"<svg" in data[:1024]:
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, "svg")
    raise DroppedError(Reason.NOT_AN_IMAGE, f"starts with {data[:8].hex(' ')}")


def read_header(data: bytes) -> ImageHeader:
    """Returns what the header of the encoded image `data` says; no pixel is decoded.

    Raises DroppedError: NOT_AN_IMAGE, UNSUPPORTED_FORMAT, IMAGE_TRUNCATED, IMAGE_CORRUPT or TOO_MANY_PIXELS (more than
    Pillow opens at all).
    """
    image_format = sniff(data)
    if image_format == "jpeg":
        width, height, _ = jpeg_header(data)
        return ImageHeader("jpeg", width, height, 1)
    with pillow_errors(data, image_format):
        image = open_with_pillow(data, image_format)
        return ImageHeader(image_format, image.width, image.height, int(getattr(image, "n_frames", 1)))


def jpeg_header(data: bytes) -> tuple[int, int, str]:
    """Returns (width, height, colour space: "RGB", "YCbCr", "Gray", "CMYK" or "YCCK") of a JPEG."""
    import simplejpeg

    scans = data.count(b"\xff\xda")
    if scans > MAX_JPEG_SCANS:
        raise DroppedError(Reason.IMAGE_CORRUPT, f"{scans} scans; at most {MAX_JPEG_SCANS} are decoded")
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: the header ends before it names a colour space
        raise broken(data, "jpeg", error) from error
    return int(width), int(height), str(colorspace)


def open_with_pillow(data: bytes, image_format: str) -> ImageFile:
    """Opens `data` with Pillow's plugin of one format; nothing is decoded yet.

    The plugin is called by name: `Image.open` tries formats by guess, and its size limit is a process-wide global.
    """
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    plugins: dict[str, type[ImageFile]] = {
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "tiff": TiffImagePlugin.TiffImageFile,
        "avif": AvifImagePlugin.AvifImageFile,
    }
    return plugins[image_format](io.BytesIO(data))


@contextmanager
def pillow_errors(data: bytes, image_format: str) -> Iterator[None]:
    """Turns whatever Pillow raises on a broken file into the DroppedError that says what is wrong with it.

    By format, its plugins raise OSError, SyntaxError, ValueError, EOFError, zlib.error, KeyError and more.
    """
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (DroppedError, MemoryError):
        raise
    except DecompressionBombError as error:
        raise DroppedError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        raise broken(data, image_format, error) from error


def broken(data: bytes, image_format: str, error: Exception) -> DroppedError:
    """Returns the DroppedError for a file that failed to decode: truncated if its end is missing, else corrupt."""
    # A memory address in a message would make two runs differ.
    detail = re.sub(r" at 0x[0-9a-f]+", "", f"{image_format}: {error}")[:200]
    if not _has_its_end(data, image_format) or "truncated" in str(error).lower():
        return DroppedError(Reason.IMAGE_TRUNCATED, detail)
    unsupported = any(words in str(error) for words in ("nsupported", "unknown pixel mode"))
    return DroppedError(Reason.UNSUPPORTED_FORMAT if unsupported else Reason.IMAGE_CORRUPT, detail)


def _has_its_end(data: bytes, image_format: str) -> bool:
    """Whether the file reaches the end that its own format promises; True where the format has no such mark."""
    if image_format == "jpeg":
        return b"\xff\xd9" in data[-4096:]
    if image_format == "png":
        return b"IEND\xae\x42\x60\x82" in data
    if image_format == "gif":
        return data.rstrip(b"\0").endswith(b";")
    if image_format == "webp":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if image_format == "bmp":
        return len(data) >= int.from_bytes(data[2:6], "little")
    if image_format == "avif":
        return _boxes_fit(data)
    return _directory_fits(data)


def _directory_fits(tiff: bytes) -> bool:
    """Whether the first image file directory of a TIFF, with the values it points to, lies within the file.

    TIFF 6.0, section 2: an entry has tag, type, count and, if its value takes more than 4 bytes, the value's offset.
    """
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(position: int, size: int) -> int:
        return int.from_bytes(tiff[position : position + size], order)

    start = number(4, 4)
    entries = range(start + 2, start + 2 + 12 * number(start, 2), 12)
    if len(tiff) < 8 or entries.stop + 4 > len(tiff):
        return False
    sizes = [(entry, number(entry + 4, 4) * _TIFF_TYPE_BYTES.get(number(entry + 2, 2), 1)) for entry in entries]
    return all(size <= 4 or number(entry + 8, 4) + size <= len(tiff) for entry, size in sizes)


def _boxes_fit(data: bytes) -> bool:
    """Whether the top-level boxes of an ISO base media file (ISO/IEC 14496-12 section 4.2) end within `data`."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 0:
            return True
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size < 8:
            return True
        position += size
    return position == len(data)


_TIFF_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)
_UNSUPPORTED_MAGIC = (
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"\0\0\0\x0cJXL ", "jpeg-xl"),
    (b"\xff\x0a", "jpeg-xl"),
    (b"\0\0\1\0", "ico"),
    (b"8BPS", "psd"),
    (b"%PDF", "pdf"),
    (b"II+\0", "bigtiff"),
    (b"MM\0+", "bigtiff"),
)
