"""Resizing, encoding, hashing and measuring."""

from __future__ import annotations

import io
from importlib.resources import files

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

from tests.support.image_files import decibels, error, photograph, saved
from x2i.image import (
    ResizeMode,
    clipped_share,
    contrast,
    decode,
    encode,
    entropy,
    exposure,
    hamming,
    luma,
    pdq,
    phash,
    resize,
    sha256,
    sharpness,
)
from x2i.image.maps import decode_map
from x2i.image.resize import resized_size, scale_to
from x2i.image.strip import strip_jpeg

ASTRONAUT, CAT, COFFEE = photographs.astronaut(), photographs.chelsea(), photographs.coffee()


@pytest.mark.parametrize(
    ("mode", "side", "only_if_bigger", "expected"),
    [
        (ResizeMode.LONGEST, 225, True, (150, 225)),
        (ResizeMode.LONGEST, 902, True, (300, 451)),
        (ResizeMode.LONGEST, 902, False, (600, 902)),
        (ResizeMode.SHORTEST, 150, True, (150, 226)),
        (ResizeMode.SHORTEST, 600, False, (600, 902)),
        (ResizeMode.CROP, 150, True, (150, 150)),
        (ResizeMode.CROP, 400, True, (300, 300)),
        (ResizeMode.EXACT, 128, True, (128, 128)),
        (ResizeMode.EXACT, 500, True, (300, 451)),
        (ResizeMode.NONE, 8, True, (300, 451)),
    ],
)
def test_resize_modes(mode: ResizeMode, side: int, only_if_bigger: bool, expected: tuple[int, int]) -> None:
    assert resize(CAT, mode, side, only_if_bigger).shape == (*expected, 3)


def test_a_thin_picture_keeps_a_pixel() -> None:
    assert resize(np.zeros((1, 5000, 3), np.uint8), ResizeMode.LONGEST, 100).shape == (1, 100, 3)


def test_shrinking_averages() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, ResizeMode.LONGEST, 16)
    assert np.abs(small.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("side", [511, 480, 400, 340, 300, 270, 257])
def test_quick_shrinking_looks_like_area_averaging(side: int) -> None:
    for picture in (ASTRONAUT, cv2.resize(CAT, (512, 341)), cv2.resize(COFFEE, (512, 341))):
        size = resized_size(picture.shape[1], picture.shape[0], ResizeMode.LONGEST, side)
        expected = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        assert decibels(scale_to(picture, size), expected) >= 36


def test_fine_rings_do_not_turn_into_coarse_ones() -> None:
    """A zone plate whose rings are finer than the small picture's pixels has to come out gray there."""
    side = 512
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = np.hypot(x, y)
    plate = (127.5 + 127.5 * np.cos(np.pi * side / 4 * radius**2)).astype(np.uint8)
    for wanted in (385, 330, 290, 260):
        small = scale_to(plate, (wanted, wanted)).astype(float)
        area = cv2.resize(plate, (wanted, wanted), interpolation=cv2.INTER_AREA).astype(float)
        too_fine = cv2.resize(radius, (wanted, wanted)) > 1.25 * wanted / side
        assert small[too_fine].std() <= 1.3 * area[too_fine].std()


@pytest.mark.parametrize(("format", "limit"), [("jpeg", 6), ("png", 0), ("webp", 6)])
def test_encoding_round_trips_and_is_deterministic(format: str, limit: float) -> None:
    data = encode(CAT, format)
    assert data == encode(np.asfortranarray(CAT), format)
    assert error(decode(data), CAT) <= limit
    gray = encode(luma(CAT), format)
    assert error(decode(gray), np.repeat(luma(CAT)[..., None], 3, axis=2)) <= limit


def test_encoded_files_carry_no_metadata() -> None:
    for format in ("jpeg", "png", "webp"):
        picture = Image.open(io.BytesIO(encode(CAT, format)))
        assert not dict(picture.getexif())
        assert not {"icc_profile", "comment", "Software", "date:create"} & set(picture.info)


@pytest.mark.parametrize(
    ("image", "format", "quality"),
    [(CAT.astype(float), "jpeg", 95), (CAT[..., :2], "jpeg", 95), (CAT, "tiff", 95), (CAT, "jpeg", 0)],
)
def test_encode_refuses_what_it_cannot_write(image: np.ndarray, format: str, quality: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode(image, format, quality)


def test_phash_is_stable_under_scale_compression_and_light_but_not_between_pictures() -> None:
    original = phash(ASTRONAUT)
    assert 0 <= original < 2**64
    assert hamming(original, phash(resize(ASTRONAUT, ResizeMode.LONGEST, 128))) <= 2
    assert hamming(original, phash(decode(encode(ASTRONAUT, "jpeg", 30)))) <= 3
    assert hamming(original, phash((ASTRONAUT * 0.8).astype(np.uint8))) <= 3
    assert hamming(original, phash(luma(ASTRONAUT))) == 0
    for other in (CAT, COFFEE, ASTRONAUT[:, ::-1]):
        assert hamming(original, phash(other)) >= 16


def test_phash_of_a_flat_picture_holds_no_noise() -> None:
    assert [phash(np.full((50, 70, 3), value, np.uint8)) for value in (0, 77, 255)] == [0, 2**63, 2**63]


def test_phash_is_the_one_of_imagehash() -> None:
    """The values are str(imagehash.phash(PIL.Image)) of imagehash 4.3.2 for the same pixels."""
    known = {
        "astronaut.png": "c2924c5532bddfc8",
        "coffee.png": "bb8320376c0f3637",
        "motorcycle_left.png": "c507c66b9370aa73",
        "motorcycle_right.png": "d507c36b9370aa53",
        "retina.jpg": "c0cc1f977ac02d4f",
    }
    for name, value in known.items():
        with Image.open(files("skimage") / "data" / name) as opened:
            assert f"{phash(np.asarray(opened.convert('RGB'))):016x}" == value


def test_phash_is_the_one_of_the_imagehash_package_whatever_the_picture() -> None:
    draw = np.random.default_rng(0)
    for number in range(100):
        height, width = (int(side) for side in draw.integers(8, 700, 2))
        pixels = np.asarray(Image.fromarray((ASTRONAUT, CAT, COFFEE)[number % 3]).resize((width, height)))
        if number % 4 == 0:
            pixels = draw.integers(0, 256, (height, width, 3), np.uint8)
        assert f"{phash(pixels):016x}" == str(imagehash.phash(Image.fromarray(pixels))), (number, width, height)


def test_pdq_tells_pictures_apart_and_stays_under_compression() -> None:
    pytest.importorskip("pdqhash")
    hashes = [pdq(ASTRONAUT), pdq(decode(encode(ASTRONAUT, "jpeg", 40))), pdq(CAT)]
    assert [len(text) for text in hashes] == [64, 64, 64]
    one, same, other = (int(text, 16) for text in hashes)
    assert (one ^ same).bit_count() <= 10
    assert (one ^ other).bit_count() > 90


def test_hamming_counts_bits() -> None:
    assert (hamming(0, 2**64 - 1), hamming(5, 5), hamming(0b1010, 0b0110)) == (64, 0, 2)


def test_sha256_is_of_the_bytes() -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sharpness_falls_with_blur_and_hardly_moves_with_size() -> None:
    blurred = cv2.GaussianBlur(CAT, (0, 0), 4)
    assert sharpness(blurred) < 0.1 * sharpness(CAT)
    large = cv2.resize(ASTRONAUT, (1536, 1536), interpolation=cv2.INTER_CUBIC)
    assert 0.5 < sharpness(large) / sharpness(ASTRONAUT) < 2


def test_measures_of_known_pictures() -> None:
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    half = np.concatenate([black, white])
    assert (exposure(black), exposure(white), exposure(half)) == (0.0, 1.0, 0.5)
    assert (contrast(black), contrast(half)) == (0.0, 0.5)
    assert (clipped_share(half), clipped_share(np.full((8, 8, 3), 128, np.uint8))) == (1.0, 0.0)
    assert (entropy(black), entropy(half)) == (0.0, 1.0)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert entropy(ramp) == pytest.approx(8.0)
    for measure in (exposure, contrast, clipped_share, entropy, sharpness):
        assert measure(CAT) == measure(luma(CAT))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 2}])
def test_stripping_a_jpeg_keeps_its_pixels(options: dict[str, object]) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    data = saved(photograph(), "JPEG", exif=exif, comment=b"SecretWords", xmp=b"<x>Secret</x>", **options)
    stripped = strip_jpeg(data + b"appended Secret")
    assert stripped is not None
    assert b"Secret" not in stripped
    assert np.array_equal(decode(stripped), decode(data))
    assert strip_jpeg(stripped) == stripped


def test_stripping_keeps_what_tells_the_colors() -> None:
    data = saved(photograph(), "JPEG", keep_rgb=True)
    stripped = strip_jpeg(data)
    assert stripped is not None
    assert np.array_equal(decode(stripped), decode(data))


def test_stripping_gives_up_on_a_strange_layout() -> None:
    data = saved(photograph(), "JPEG")
    assert strip_jpeg(data[:100]) is None
    assert strip_jpeg(b"\xff\xd8" + b"rubbish" * 10) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_map_is_decoded_as_it_is_stored(dtype, channels):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (5, 7, *channels)).astype(dtype)
    order = values[..., ::-1] if channels else values
    found = decode_map(cv2.imencode(".png", order)[1].tobytes())
    assert found.dtype == dtype
    assert np.array_equal(found, values)
    with pytest.raises(ValueError, match="not a gray or RGB image"):
        decode_map(b"nothing")
