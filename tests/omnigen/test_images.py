"""Image preparation: predicted sizes are the real ones, and pixels survive the way to the network and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnigen.images import prepare_image, prepared_size, to_tensor, to_uint8
from x2i.errors import UserError


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(16, 300))
def test_the_predicted_size_is_the_real_one(width: int, height: int, max_side: int) -> None:
    prepared = prepare_image(np.zeros((height, width, 3), np.uint8), max_side)
    size = prepared_size(width, height, max_side)
    assert prepared.shape == (size[1], size[0], 3)
    assert all(side % 16 == 0 and 16 <= side <= max_side for side in size)


@given(st.integers(16, 40_000), st.integers(16, 40_000), st.integers(16, 2048))
def test_the_aspect_ratio_is_kept_to_a_token(width: int, height: int, max_side: int) -> None:
    size = prepared_size(width, height, max_side)
    if min(size) > 16 and min(width, height) >= 64:
        shrink = max(size[0] / width, size[1] / height)
        assert abs(size[0] - width * shrink) <= 18
        assert abs(size[1] - height * shrink) <= 18


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((1000, 800), 256, (256, 192)),  # 500 x 400, then 256 x 205
        ((640, 480), 512, (512, 384)),
        ((100, 50), 512, (96, 48)),  # never enlarged
        ((5000, 40), 512, (512, 16)),  # a strip: 512 x 4 would be cut to nothing
        ((8, 8), 64, (16, 16)),
    ],
)
def test_known_sizes(size: tuple[int, int], max_side: int, expected: tuple[int, int]) -> None:
    assert prepared_size(*size, max_side) == expected


def test_pixels_come_from_the_box_filter_the_bicubic_filter_and_the_center() -> None:
    pixels = np.random.Generator(np.random.Philox(0)).integers(0, 256, (110, 150, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((75, 55), Image.Resampling.BOX).resize((50, 37), Image.Resampling.BICUBIC)
    expected = np.asarray(image)[2:34, 1:49]
    assert np.array_equal(prepare_image(pixels, 50), expected)


def test_pixels_survive_the_tensor_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = to_tensor(pixels)
    assert tensor.shape == (3, 16, 16)
    assert (float(tensor.min()), float(tensor.max())) == (-1.0, 1.0)
    assert np.array_equal(to_uint8(tensor), pixels)


def test_a_limit_below_one_token_is_a_user_error() -> None:
    with pytest.raises(UserError, match="at least 16"):
        prepared_size(100, 100, 15)
