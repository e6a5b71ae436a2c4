"""The bytes of an image file become the bytes that are stored, or a reason why not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from x2i.image import ImageHeader, ResizeMode, decode, encode, luma, pdq, phash, read_header
from x2i.image.decode import DEFAULT_MAX_PIXELS, is_plain_srgb
from x2i.image.hashes import require_pdq
from x2i.image.metadata import source_exif, with_exif
from x2i.image.opt_out import file_opt_out
from x2i.image.resize import central_square, resized_size
from x2i.image.strip import strip_jpeg
from x2i.options import Option
from x2i.reasons import DroppedError, Reason


class StoredFormat(StrEnum):
    """keep: the format that came in, where it can be stored, and its own bytes where nothing has to change."""

    KEEP = "keep"
    JPEG = "jpeg"
    WEBP = "webp"
    PNG = "png"


KEPT_FORMATS = {
    "jpeg": "jpeg",
    "avif": "jpeg",
    "heif": "jpeg",
    "webp": "webp",
    "png": "png",
    "gif": "png",
    "bmp": "png",
    "tiff": "png",
}
"""What --format keep stores for each format that comes in."""
LONGEST_SIDE = {"jpeg": 65500, "webp": 16383, "png": 2**31 - 1}


@dataclass(frozen=True)
class StoragePolicy:
    """How images are stored; see `make_image` for the format "keep"."""

    max_side: Annotated[int, Option("Pixels; --resize-mode says of which side.", ge=1)] = 1024
    min_side: Annotated[int, Option("Drop images whose shorter side has fewer pixels.", ge=0)] = 0
    resize_mode: Annotated[
        ResizeMode, Option("Which side becomes --max-side. Smaller images stay, unless --enlarge.")
    ] = ResizeMode.LONGEST
    format: Annotated[
        StoredFormat, Option("How images are stored. keep: as they come where nothing has to change.")
    ] = StoredFormat.JPEG
    quality: Annotated[int, Option("Of JPEG and WebP.", ge=1, le=100)] = 95
    max_pixels: Annotated[int, Option("Largest image, in pixels; judged from its header.", ge=1)] = DEFAULT_MAX_PIXELS
    enlarge: Annotated[bool, Option("Bring smaller images up to --max-side too, instead of leaving them.")] = False
    keep_metadata: Annotated[bool, Option("Store the EXIF of each image with it: place, time, camera and all.")] = False
    ignore_file_opt_outs: Annotated[
        bool, Option("Store images whose own metadata refuses training: for images that are yours.")
    ] = False
    pdq: Annotated[bool, Option("Compute the PDQ hash of each image too. Needs x2i[pdq].")] = False

    def __post_init__(self) -> None:
        """Raises UserError if the PDQ hash is asked for and its package is not installed."""
        if self.pdq:
            require_pdq()


@dataclass(frozen=True)
class StoredImage:
    """data: the encoded bytes; width, height: of these; phash, pdq: of the pixels they were made from ("" if not asked
    for). header: of the file they came from.
    """

    data: bytes
    format: str
    width: int
    height: int
    phash: int
    header: ImageHeader
    pdq: str = ""


def make_image(data: bytes, policy: StoragePolicy) -> StoredImage:
    """Checks, decodes, resizes and encodes an image file. Raises DroppedError for what cannot or may not be stored.

    With format "keep", a picture that need not be resized keeps its own compression: a JPEG that is upright sRGB is
    copied without its metadata segments, a plain lossy WebP as it is. Everything else is encoded anew, in its own
    format where that can be stored (BMP, GIF and TIFF become PNG, AVIF and HEIF become JPEG). No EXIF survives unless
    it is asked for.
    """
    header = read_header(data)
    if not policy.ignore_file_opt_outs and (signal := file_opt_out(data, header.format)):
        raise DroppedError(Reason.OPT_OUT, signal)
    if header.pixels > policy.max_pixels:
        raise DroppedError(Reason.TOO_MANY_PIXELS, f"{header.width}x{header.height}; at most {policy.max_pixels}")
    if min(header.width, header.height) < policy.min_side:
        raise DroppedError(Reason.TOO_SMALL, f"{header.width}x{header.height}; --min-side {policy.min_side}")
    full = (header.width, header.height)
    target = resized_size(*full, policy.resize_mode, policy.max_side, not policy.enlarge)
    stored_format = KEPT_FORMATS[header.format] if policy.format is StoredFormat.KEEP else str(policy.format)
    cropped = policy.resize_mode is ResizeMode.CROP
    if min(max(target), policy.max_side if cropped else max(target)) > LONGEST_SIDE[stored_format]:
        raise DroppedError(Reason.TOO_MANY_PIXELS, f"{target[0]}x{target[1]} does not fit into {stored_format}")
    pixels = decode(data, header=header, max_pixels=policy.max_pixels, size=target, fast_chroma=stored_format != "png")
    if cropped:
        pixels = central_square(pixels, policy.max_side)
    height, width = pixels.shape[:2]
    stored = None
    if policy.format is StoredFormat.KEEP and sorted((width, height)) == sorted(full):
        stored = _kept(data, header)
    if stored is None:
        stored = encode(pixels, stored_format, policy.quality)
    exif = source_exif(data, header) if policy.keep_metadata else None
    if exif is not None:
        stored = with_exif(stored, stored_format, exif)
    gray = luma(pixels)
    return StoredImage(stored, stored_format, width, height, phash(gray), header, pdq(pixels) if policy.pdq else "")


def _kept(data: bytes, header: ImageHeader) -> bytes | None:
    """Returns the file's own bytes without metadata, or None if it has to be encoded anew."""
    if header.jpeg and is_plain_srgb(header.jpeg):
        return strip_jpeg(data)
    if header.format == "webp" and data[12:16] == b"VP8 ":
        return _first_chunk(data)
    return None


def _first_chunk(webp: bytes) -> bytes:
    """Returns a WebP of its picture alone: some writers add EXIF without the header that would announce it."""
    size = int.from_bytes(webp[16:20], "little")
    chunk = webp[12 : 20 + size + size % 2]
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
