"""What is stored for what comes in."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.crawling import crawl_stage
from tests.support.hostile_server import photograph
from tests.support.image_files import decibels
from x2i.crawl.process import StoragePolicy, StoredFormat, make_image
from x2i.errors import UserError
from x2i.image import ResizeMode, decode, encode, hamming, phash, resize
from x2i.reasons import DroppedError


def test_an_image_is_shrunk_to_max_side_and_never_enlarged() -> None:
    data = photograph(side=200)
    assert (make_image(data, StoragePolicy(max_side=100)).width, make_image(data, StoragePolicy()).width) == (100, 200)


@pytest.mark.parametrize("mode", ResizeMode)
@pytest.mark.parametrize("size", [(1000, 700), (700, 1001), (2049, 1025), (513, 511)])
def test_scaled_decoding_never_falls_short_of_the_target(mode: ResizeMode, size: tuple[int, int]) -> None:
    data = _jpeg(*size)
    image = make_image(data, StoragePolicy(max_side=256, resize_mode=mode))
    sides = {
        ResizeMode.LONGEST: max(image.width, image.height),
        ResizeMode.SHORTEST: min(image.width, image.height),
        ResizeMode.CROP: min(image.width, image.height),
        ResizeMode.EXACT: image.height,
        ResizeMode.NONE: 256,
    }
    assert sides[mode] == 256
    if mode in (ResizeMode.CROP, ResizeMode.EXACT):
        assert image.width == image.height


def test_scaled_and_full_decoding_look_the_same() -> None:
    data = photograph(side=1024)
    image = make_image(data, StoragePolicy(max_side=160))
    full = decode(data)
    assert hamming(image.phash, phash(full)) <= 2
    assert hamming(phash(decode(image.data)), image.phash) <= 2


def test_keep_copies_a_jpeg_without_its_metadata() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    data = photograph(exif=exif, comment=b"secret words", progressive=True)
    image = make_image(data, StoragePolicy(format=StoredFormat.KEEP))
    assert b"Secret" not in image.data
    assert b"secret" not in image.data
    assert np.array_equal(decode(image.data), decode(data))


def test_keep_leaves_behind_what_hides_where_no_metadata_belongs() -> None:
    policy = StoragePolicy(format=StoredFormat.KEEP)
    jpeg = photograph()
    for segment in (b"Other", b"Adobe" + bytes(6) + b"\1"):
        hidden = b"\xff\xee" + struct.pack(">H", 2 + len(segment) + 6) + segment + b"secret"
        kept = make_image(jpeg[:2] + hidden + jpeg[2:], policy).data
        assert b"secret" not in kept
        assert decibels(decode(kept), decode(jpeg)) > 35
    webp = encode(decode(jpeg), "webp")
    unannounced = webp[12:] + b"EXIF" + struct.pack("<I", 6) + b"secret"
    data = b"RIFF" + struct.pack("<I", 4 + len(unannounced)) + b"WEBP" + unannounced
    assert make_image(data, policy).data == webp


def test_keep_encodes_what_is_not_upright_anew() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = photograph(exif=exif)
    image = make_image(data, StoragePolicy(format=StoredFormat.KEEP))
    assert b"Exif" not in image.data
    difference = np.abs(decode(image.data).astype(int) - decode(data)).mean()
    assert difference < 3


@pytest.mark.parametrize(
    ("format", "stored"),
    [("PNG", "png"), ("WEBP", "webp"), ("GIF", "png"), ("BMP", "png"), ("TIFF", "png"), ("AVIF", "jpeg")],
)
def test_keep_stores_each_format_as_one_that_shards_hold(format: str, stored: str) -> None:
    data = photograph(format=format)
    image = make_image(data, StoragePolicy(format=StoredFormat.KEEP))
    assert image.format == stored
    assert image.header.format == format.lower()
    if stored != "jpeg":
        assert np.array_equal(decode(image.data), decode(data))


def test_small_and_vast_images_are_refused_from_the_header() -> None:
    for policy, reason in (
        (StoragePolicy(min_side=97), "too_small"),
        (StoragePolicy(max_pixels=96 * 96 - 1), "too_many_pixels"),
    ):
        with pytest.raises(DroppedError) as caught:
            make_image(photograph(side=96), policy)
        assert caught.value.verdict.reason == reason


def test_what_a_format_cannot_hold_is_refused() -> None:
    with pytest.raises(DroppedError) as caught:
        make_image(_png(17000, 4), StoragePolicy(resize_mode=ResizeMode.NONE, format=StoredFormat.WEBP))
    assert caught.value.verdict.reason == "too_many_pixels"


def test_enlarging_is_done_only_when_asked_for() -> None:
    data = photograph(side=200)
    assert make_image(data, StoragePolicy(max_side=300)).width == 200
    assert make_image(data, StoragePolicy(max_side=300, enlarge=True)).width == 300


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["YCbCr", "CMYK", "L"])
def test_turning_and_converting_the_small_picture_is_as_good_as_the_large(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.open(io.BytesIO(photograph())).resize((600, 402)).convert("RGB" if mode == "YCbCr" else mode)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95, exif=exif)
    data = stream.getvalue()
    image = make_image(data, StoragePolicy(max_side=256))
    expected = resize(decode(data), ResizeMode.LONGEST, 256)
    assert decibels(decode(image.data), expected) > 35


@pytest.mark.parametrize("stored", [StoredFormat.JPEG, StoredFormat.PNG, StoredFormat.WEBP])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_goes_along_only_when_asked_for(format: str, stored: StoredFormat) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    data = photograph(side=120, format=format, exif=exif)
    without = make_image(data, StoragePolicy(format=stored))
    assert b"Secret" not in without.data
    image = make_image(data, StoragePolicy(format=stored, keep_metadata=True))
    opened = Image.open(io.BytesIO(image.data))
    assert opened.size == (without.width, without.height)
    found = opened.getexif()
    assert (found[0x0112], found[0x010F]) == (1, "SecretCamera")
    if format != "TIFF":  # Pillow writes no GPS directory into a TIFF
        assert found.get_ifd(0x8825)[1] == "N"
    assert np.array_equal(decode(image.data), decode(without.data))


def test_a_kept_file_keeps_its_metadata_only_when_asked_for() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    data = photograph(exif=exif, comment=b"other words")
    image = make_image(data, StoragePolicy(format=StoredFormat.KEEP, keep_metadata=True))
    assert Image.open(io.BytesIO(image.data)).getexif()[0x010F] == "SecretCamera"
    assert b"other words" not in image.data


def test_the_thumbnail_is_left_behind() -> None:
    thumbnail = photograph(side=32)
    directory = struct.pack("<HHHIIHHIII", 2, 513, 4, 1, 56, 514, 4, 1, len(thumbnail), 0)
    block = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x010F, 2, 4, 0x41424300, 26) + directory + thumbnail
    image = make_image(photograph(exif=block), StoragePolicy(keep_metadata=True))
    assert b"Exif" in image.data
    assert image.data.count(b"\xff\xd8\xff") == 1


def test_damaged_metadata_is_left_behind() -> None:
    data = photograph(exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\x99" * 50)
    assert b"Exif" not in make_image(data, StoragePolicy(keep_metadata=True)).data


def test_pdq_is_computed_only_when_asked_for() -> None:
    pytest.importorskip("pdqhash")
    data = photograph(side=200)
    assert make_image(data, StoragePolicy()).pdq == ""
    assert len(make_image(data, StoragePolicy(pdq=True)).pdq) == 64


def test_a_missing_pdq_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    with pytest.raises(UserError, match="pip install"):
        crawl_stage(sources=("urls.txt",), pdq=True)


def _jpeg(width: int, height: int) -> bytes:
    return encode(np.asarray(Image.open(io.BytesIO(photograph())).resize((width, height))))


def _png(width: int, height: int) -> bytes:
    return encode(np.zeros((height, width, 3), np.uint8), "png")
