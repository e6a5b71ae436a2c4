"""Every odd image decodes to what a viewer would show, or to a reason; never to something in between."""

from __future__ import annotations

import io
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image, ImageOps

from tests.support.hostile_server import png_bomb
from tests.support.image_files import (
    decibels,
    error,
    gray_png,
    gray_profile,
    oriented,
    photograph,
    rgb_profile,
    saved,
    swapped_profile,
)
from x2i.image import decode, read_header
from x2i.reasons import DroppedError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
TOLERANCE = {"JPEG": 8.0, "WEBP": 8.0, "AVIF": 8.0, "GIF": 8.0}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_decodes(format: str) -> None:
    data = saved(photograph(), format)
    header = read_header(data)
    assert (header.format, header.width, header.height) == (format.lower(), 160, 120)
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert error(pixels, photograph()) <= TOLERANCE.get(format, 0.0)


@pytest.mark.parametrize("format", FORMATS)
def test_a_cut_file_is_truncated_wherever_it_is_cut(format: str) -> None:
    data = saved(photograph(), format)
    whole = decode(data)
    for cut in sorted({*range(32, 400, 7), *range(400, len(data), max(1, len(data) // 60))}):
        outcome = _outcome(data[:cut])
        if isinstance(outcome, DroppedError):
            assert outcome.verdict.reason == "image_truncated", (cut, outcome)
        else:
            assert np.array_equal(outcome, whole), f"cut at {cut} of {len(data)}: a partial picture came out"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_flipped_bytes_end_in_a_picture_or_a_reason(format: str) -> None:
    data = saved(photograph(64, 48), format)
    draw = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        for position in draw.integers(0, len(data), 3):
            broken[position] ^= int(draw.integers(1, 256))
        try:
            assert decode(bytes(broken), max_pixels=10**7).shape[2] == 3
        except DroppedError:
            continue


def test_a_damaged_png_is_corrupt_though_it_inflates() -> None:
    data = bytearray(saved(photograph(), "PNG", compress_level=0))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(DroppedError) as caught:
        decode(bytes(data))
    assert caught.value.verdict.reason == "image_corrupt"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    picture = photograph()
    picture.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(picture)
    assert error(decode(oriented(format, orientation)), upright) <= TOLERANCE.get(format, 0.0)


def test_broken_exif_is_passed_over() -> None:
    data = saved(photograph(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\x99" * 50)
    assert decode(data).shape == (120, 160, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_icc_profile_is_converted_to_srgb(format: str) -> None:
    swapped = Image.fromarray(np.asarray(photograph())[..., ::-1])
    pixels = decode(saved(swapped, format, icc_profile=swapped_profile()))
    assert error(pixels, photograph()) < 10
    assert error(pixels, swapped) > 20


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_gray_profile_is_obeyed_with_transparency_and_without(mode: str) -> None:
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (2, 1)))
    pixels = decode(saved(ramp.convert(mode), "PNG", icc_profile=gray_profile(gamma=1.0)))
    srgb = [round(255 * (1.055 * (level / 255) ** (1 / 2.4) - 0.055)) for level in (32, 128, 200)]
    assert np.abs(pixels[0, [32, 128, 200], 0].astype(int) - srgb).max() <= 1


def test_linear_srgb_is_no_srgb_whatever_its_name() -> None:
    linear = rgb_profile("GIMP built-in Linear sRGB", gamma=1.0)
    gray = Image.new("RGB", (16, 16), (64, 64, 64))
    for format in ("PNG", "JPEG"):
        assert abs(int(decode(saved(gray, format, icc_profile=linear))[8, 8, 1]) - 137) <= 2
        assert abs(int(decode(saved(gray, format, icc_profile=rgb_profile("sRGB", gamma=2.2)))[8, 8, 1]) - 64) <= 1


def test_profiles_of_many_images_are_not_kept_in_memory() -> None:
    tracemalloc.start()
    for number in range(4):
        decode(saved(Image.new("RGB", (8, 8)), "WEBP", icc_profile=bytes([number]) * (8 << 20)))
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 4 << 20


def test_a_broken_icc_profile_is_passed_over() -> None:
    pixels = decode(saved(photograph(), "PNG", icc_profile=b"no profile at all" * 20))
    assert error(pixels, photograph()) == 0


def test_cmyk_jpeg_and_tiff() -> None:
    cmyk = photograph().convert("CMYK")
    assert error(decode(saved(cmyk, "JPEG", quality=95)), photograph()) < 8
    assert error(decode(saved(cmyk, "TIFF")), photograph()) < 2


def test_a_cmyk_jpeg_without_adobes_marker_is_read_as_browsers_read_it() -> None:
    data = saved(photograph().convert("CMYK"), "JPEG", quality=95)
    marker = data.index(b"\xff\xee")
    length = int.from_bytes(data[marker + 2 : marker + 4], "big")
    assert error(decode(data[:marker] + data[marker + 2 + length :]), photograph()) < 8


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_modes_of_png_become_rgb(mode: str) -> None:
    picture = photograph().convert(mode)
    assert error(decode(saved(picture, "PNG")), picture.convert("RGB")) == 0


def test_alpha_is_flattened_on_white() -> None:
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 160).astype(np.uint8), (120, 1)))
    picture = photograph()
    picture.putalpha(alpha)
    white = Image.new("RGBA", picture.size, "white")
    expected = Image.alpha_composite(white, picture).convert("RGB")
    assert error(decode(saved(picture, "PNG")), expected) < 0.6
    assert decode(saved(picture, "WEBP", lossless=True, exact=True))[:, 0].min() == 255


def test_a_transparent_palette_color_becomes_white() -> None:
    picture = Image.new("P", (40, 30), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0] + [0] * 750)
    picture.paste(0, (0, 0, 20, 30))
    for format in ("PNG", "GIF"):
        pixels = decode(saved(picture, format, transparency=0))
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert pixels[0, 39].tolist() == [255, 0, 0]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray_becomes_white_at_every_bit_depth(bits: int) -> None:
    most = 2**bits - 1
    samples = np.asarray(photograph().convert("L")).astype(np.uint16) * most // 255
    transparent = int(np.bincount(samples.ravel()).argmax())
    expected = np.where(samples == transparent, 255, samples * (255 / most)).round().astype(np.uint8)
    pixels = decode(gray_png(samples, bits, transparent))
    assert error(pixels, np.repeat(expected[..., None], 3, axis=2)) == 0


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(format: str) -> None:
    gray = np.asarray(photograph().convert("L"))
    pixels = decode(saved(Image.fromarray(gray.astype(np.uint16) * 257), format))
    assert error(pixels, np.repeat(gray[..., None], 3, axis=2)) == 0


def test_16_bit_color() -> None:
    rgb = np.asarray(photograph())
    data = bytes(cv2.imencode(".png", rgb[..., ::-1].astype(np.uint16) * 257)[1])
    assert error(decode(data), rgb) == 0


@pytest.mark.parametrize(
    "layout",
    [
        {"photometric": "rgb", "planarconfig": "separate"},
        {"photometric": "miniswhite"},
        {"photometric": "minisblack", "dtype": np.int8},
    ],
)
def test_a_tiff_that_would_be_misread_is_refused(layout: dict[str, Any]) -> None:
    shape = (3, 12, 16) if layout["photometric"] == "rgb" else (12, 16)
    pixels = np.full(shape, 100, layout.pop("dtype", np.uint16))
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **layout)
    outcome = _outcome(stream.getvalue())
    assert isinstance(outcome, DroppedError)
    assert outcome.verdict.reason == "unsupported_format"


def test_32_bit_pixels_are_refused() -> None:
    data = saved(Image.fromarray(np.asarray(photograph().convert("L")).astype(np.float32)), "TIFF")
    with pytest.raises(DroppedError) as caught:
        decode(data)
    assert caught.value.verdict.reason == "unsupported_format"


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_several_is_taken(format: str) -> None:
    others = [Image.new("RGB", (160, 120), color) for color in ("red", "blue")]
    data = saved(photograph(), format, save_all=True, append_images=others)
    assert error(decode(data), photograph()) <= TOLERANCE.get(format, 0.0)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    for data in (png_bomb(60_000, 60_000), png_bomb(2**31 - 1, 2**31 - 1)):
        with pytest.raises(DroppedError) as caught:
            decode(data)
        assert caught.value.verdict.reason == "too_many_pixels"
    with pytest.raises(DroppedError) as caught:
        decode(saved(photograph(), "JPEG"), max_pixels=160 * 120 - 1)
    assert caught.value.verdict.reason == "too_many_pixels"


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    data = saved(photograph(), "JPEG", progressive=True)
    start, end = data.index(b"\xff\xda"), len(data) - 2
    with pytest.raises(DroppedError) as caught:
        decode(data[:start] + data[start:end] * 200 + data[end:])
    assert caught.value.verdict.reason == "image_corrupt"


def test_what_follows_a_jpeg_is_not_taken_for_scans() -> None:
    data = saved(photograph(), "JPEG", progressive=True)
    film = np.random.default_rng(0).bytes(1 << 20) + b"\xff\xda" * 200
    assert np.array_equal(decode(data + film), decode(data))


@pytest.mark.parametrize("side", [1, 8, 100, 399, 400, 401, 512, 5000])
def test_target_side_is_never_undershot(side: int) -> None:
    for size in ((801, 533), (533, 801)):
        pixels = decode(saved(photograph(*size), "JPEG"), target_side=side)
        assert max(pixels.shape[:2]) >= min(side, 801)
        assert abs(pixels.shape[1] / pixels.shape[0] - size[0] / size[1]) < 0.05
        expected = photograph(*size).resize((pixels.shape[1], pixels.shape[0]))
        assert error(pixels, expected) < 12


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_an_image"),
        (b"<html></html>", "not_an_image"),
        (b"<?xml version='1.0'?><svg/>", "unsupported_format"),
        (b"%PDF-1.7", "unsupported_format"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported_format"),
        (b"8BPS\0\1", "unsupported_format"),
        (b"\xff\xd8\xff", "image_truncated"),
        (b"\x89PNG\r\n\x1a\n", "image_truncated"),
        (b"GIF89a", "image_truncated"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, reason: str) -> None:
    for function in (decode, read_header):
        with pytest.raises(DroppedError) as caught:
            function(data)
        assert caught.value.verdict.reason == reason


@pytest.mark.parametrize("divisor", [1.9, 2.3, 2.5, 3.1, 4.7, 9.0])
def test_scaled_decoding_looks_like_full_decoding_and_averaging(divisor: float) -> None:
    picture = Image.fromarray(skimage.data.astronaut()).resize((1600, 1600), Image.Resampling.BICUBIC)
    data = saved(picture, "JPEG", quality=92)
    side = round(1600 / divisor)
    expected = cv2.resize(decode(data), (side, side), interpolation=cv2.INTER_AREA)
    for fast_chroma in (False, True):
        assert decibels(decode(data, size=(side, side), fast_chroma=fast_chroma), expected) > 35


@pytest.mark.parametrize("orientation", [1, 6])
def test_heif_decodes_where_its_package_is_installed(orientation: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    pillow_heif.from_pillow(photograph()).save(stream, quality=90, exif=exif.tobytes())
    header = read_header(stream.getvalue())
    assert (header.format, {header.width, header.height}) == ("heif", {160, 120})
    expected = photograph()
    expected.getexif()[0x0112] = orientation
    pixels = decode(stream.getvalue(), size=(header.width, header.height))
    assert error(pixels, ImageOps.exif_transpose(expected)) < 8


def test_heif_is_unsupported_and_says_why_where_its_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for function in (decode, read_header):
        with pytest.raises(DroppedError) as caught:
            function(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
        assert caught.value.verdict.reason == "unsupported_format"
        assert "pip install x2i[heif]" in caught.value.verdict.detail


def test_messages_hold_no_memory_address() -> None:
    data = saved(photograph(), "TIFF")
    for cut in range(8, 400, 13):
        outcome = _outcome(data[:cut])
        assert isinstance(outcome, DroppedError)
        assert "0x" not in outcome.verdict.detail


def test_real_files_of_an_installed_package_decode() -> None:
    folder = Path(skimage.data.__file__).parent
    files = [path for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".gif")]
    assert len(files) > 15
    for path in files:
        expected = ImageOps.exif_transpose(Image.open(path))
        assert decode(path.read_bytes()).shape[:2] == (expected.height, expected.width), path


def _outcome(data: bytes) -> np.ndarray | DroppedError:
    try:
        return decode(data)
    except DroppedError as dropped:
        return dropped
