"""What a file says about itself before anything is decoded: format and size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from x2i.image.damage import broken
from x2i.image.jpeg import JpegHeader, jpeg_header
from x2i.image.tiff import refuse_misread
from x2i.reasons import DroppedError, Reason

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heif")
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323


@dataclass(frozen=True)
class ImageHeader:
    """width, height: pixels as stored, before EXIF orientation. jpeg: what else the markers of a JPEG say."""

    format: str
    width: int
    height: int
    jpeg: JpegHeader | None = None

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
        if any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")):
            return "heif"
    for magic, name in _UNSUPPORTED_MAGIC:
        if data.startswith(magic):
            raise DroppedError(Reason.UNSUPPORTED_FORMAT, name)
    if b"<svg" in data[:1024]:
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, "svg")
    raise DroppedError(Reason.NOT_AN_IMAGE, f"starts with {data[:8].hex(' ')}")


def read_header(data: bytes) -> ImageHeader:
    """Returns what the header of the encoded image `data` says; no pixel is decoded and no canvas is allocated.

    Raises DroppedError: NOT_AN_IMAGE, UNSUPPORTED_FORMAT, IMAGE_TRUNCATED or IMAGE_CORRUPT.
    """
    image_format = sniff(data)
    if image_format == "jpeg":
        jpeg = jpeg_header(data)
        return ImageHeader(image_format, jpeg.width, jpeg.height, jpeg)
    if image_format == "webp":
        width, height = webp_size(data)
    else:
        with pillow_errors(data, image_format):
            width, height = open_with_pillow(data, image_format).size
    return ImageHeader(image_format, width, height)


def guard_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises DroppedError TOO_MANY_PIXELS if the picture has more than `max_pixels`."""
    if width * height > max_pixels:
        raise DroppedError(Reason.TOO_MANY_PIXELS, f"{width}x{height} is more than {max_pixels} pixels")


def webp_size(data: bytes) -> tuple[int, int]:
    """Returns the (width, height) of a WebP's canvas (RFC 9649 sections 2.5 to 2.7). Raises DroppedError as above."""
    chunk, body = data[12:16], data[20:30]
    if len(body) == 10 and chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if len(body) == 10 and chunk == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if len(body) >= 5 and chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise broken(data, "webp", ValueError(f"starts with chunk {chunk!r}"))


def open_with_pillow(data: bytes, image_format: str, max_pixels: int | None = None) -> ImageFile:
    """Opens `data` with Pillow's plugin of one format; nothing is decoded yet.

    The plugin is called by name: `Image.open` tries formats by guess, and its size limit is a process-wide global.
    With `max_pixels`, a larger picture (or one whose tiles are larger) raises DroppedError TOO_MANY_PIXELS, and a TIFF
    that Pillow would misread UNSUPPORTED_FORMAT.
    """
    if image_format == "webp" and max_pixels is not None:
        # Pillow's WebP decoder allocates two canvases when it is opened.
        guard_pixels(*webp_size(data), max_pixels)
    image = _plugin(image_format)(io.BytesIO(data))
    if max_pixels is not None:
        guard_pixels(image.width, image.height, max_pixels)
        if image_format == "tiff":
            tags = image.tag_v2  # type: ignore[attr-defined]
            guard_pixels(tags.get(_TIFF_TILE_WIDTH, 0), tags.get(_TIFF_TILE_LENGTH, 0), max_pixels)
            refuse_misread(tags)
    return image


def _plugin(image_format: str) -> type[ImageFile]:
    from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    if image_format == "heif":
        return _heif_plugin()
    plugins: dict[str, type[ImageFile]] = {
        "png": PngImagePlugin.PngImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "tiff": TiffImagePlugin.TiffImageFile,
        "avif": AvifImagePlugin.AvifImageFile,
    }
    return plugins[image_format]


def _heif_plugin() -> type[ImageFile]:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, "heif: pip install x2i[heif]") from error
    return HeifImageFile


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
