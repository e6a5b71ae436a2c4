"""Decoding at the stage's size: the same picture to a stated tolerance, the same sizes, a fraction of the time."""

from __future__ import annotations

import io
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnigen.data.loading.decode import decode_prepared
from omnigen.images import decoding_divisor, prepare_image, prepared_size
from tests.support.training_shards import photograph
from x2i.image import decode
from x2i.reasons import DroppedError


def jpeg(image: np.ndarray, quality: int = 90, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality, **options)
    return buffer.getvalue()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-9)))


@pytest.mark.parametrize("name", ["coffee", "chelsea", "grass", "camera"])
@pytest.mark.parametrize(("width", "height", "side"), [(1024, 768, 256), (1024, 1024, 128), (1600, 1200, 128)])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_reduced_decode_differs_from_the_whole_one_by_a_few_levels(name, width, height, side, subsampling):
    data = jpeg(photograph(name, width, height), subsampling=subsampling)
    assert decoding_divisor(width, height, side) in (2, 4, 8)
    reduced, whole = decode_prepared(data, (width, height), side), prepare_image(decode(data), side)
    assert reduced.shape == whole.shape
    assert np.abs(reduced.astype(int) - whole).mean() < 4
    assert psnr(reduced, whole) > 34
    assert np.array_equal(reduced, decode_prepared(data, (width, height), side))


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(16, 1200),
    height=st.integers(16, 1200),
    side=st.sampled_from([16, 32, 48, 100, 256]),
    progressive=st.booleans(),
)
def test_sizes_are_those_of_the_whole_path_and_the_picture_stays_in_place(width, height, side, progressive):
    # A smooth ramp shows any shift: a pixel of the result spans at least 255 / 1200 levels of each of two channels.
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    ramp = np.stack([np.tile(x, (height, 1)), np.tile(y[:, None], (1, width)), np.full((height, width), 99)], -1)
    data = jpeg(ramp.astype(np.uint8), 98, subsampling=0, progressive=progressive)
    reduced, whole = decode_prepared(data, (width, height), side), prepare_image(decode(data), side)
    assert (reduced.shape[1], reduced.shape[0]) == prepared_size(width, height, side)
    assert reduced.shape == whole.shape
    # Half a pixel of the result at its size before the crop, and the noise of two roundings.
    assert np.abs(reduced.astype(int) - whole).mean(axis=(0, 1)).max() <= 0.5 * 255 / side + 3


def test_an_upright_size_is_asked_of_a_turned_photograph():
    image = photograph("coffee", 800, 600)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(image, exif=exif)
    turned = decode_prepared(data, (600, 800), 128)
    assert psnr(turned, prepare_image(decode(data), 128)) > 34
    assert turned.shape[0] > turned.shape[1]
    with pytest.raises(DroppedError, match="600x800, its index says 800x600"):
        decode_prepared(data, (800, 600), 128)


@pytest.mark.parametrize("side", [64, 1024])
def test_a_size_that_the_index_does_not_say_is_refused_at_any_scale(side):
    data = jpeg(photograph("coffee", 512, 512))
    with pytest.raises(DroppedError, match="image_corrupt: 512x512, its index says 520x512"):
        decode_prepared(data, (520, 512), side)


def test_a_truncated_photograph_is_refused_at_any_scale():
    data = jpeg(photograph("coffee", 512, 512))
    for side in (64, 1024):
        with pytest.raises(DroppedError):
            decode_prepared(data[: len(data) // 2], (512, 512), side)


def test_other_formats_are_decoded_whole_and_lose_nothing():
    image = photograph("coffee", 512, 384)
    data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    assert np.array_equal(decode_prepared(data, (512, 384), 64), prepare_image(image, 64))


def test_a_large_photograph_costs_about_its_scaled_decode():
    data = jpeg(cv2.resize(photograph("coffee", 600, 400), (4000, 2667), interpolation=cv2.INTER_CUBIC))

    def fastest(work) -> float:
        times = []
        for _ in range(3):
            started = time.thread_time()
            work()
            times.append(time.thread_time() - started)
        return min(times)

    whole = fastest(lambda: prepare_image(decode(data), 256))
    reduced = fastest(lambda: decode_prepared(data, (4000, 2667), 256))
    assert reduced < whole / 2.5
