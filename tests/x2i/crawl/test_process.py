"""What is stored for what comes in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.hostile_server import photograph
from x2i.crawl.process import StoragePolicy, StoredFormat, make_image
from x2i.image import ResizeMode, decode, encode, hamming, phash
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


def _jpeg(width: int, height: int) -> bytes:
    return encode(np.asarray(Image.open(io.BytesIO(photograph())).resize((width, height))))


def _png(width: int, height: int) -> bytes:
    return encode(np.zeros((height, width, 3), np.uint8), "png")
