"""Masks survive COCO's run-length strings, and the strings are those that pycocotools 2.0.11 writes and reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from x2i.image.rle import decode_mask, encode_mask


def ellipse() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return (y - 20) ** 2 / 150 + (x - 30) ** 2 / 300 < 1


def sparse() -> np.ndarray:
    mask = np.zeros((2000, 3000), bool)
    mask[500:1500, 1000] = True
    mask[0, 2999] = True
    return mask


KNOWN = {  # made by pycocotools.mask.encode
    "ellipse": (ellipse(), "Rd05Y14L4M2N2O0O2O0O2O0O2O00000O2O000000000001N1000001N101N101N101N2N3L4L`g0"),
    "checkers": (np.indices((4, 6)).sum(0) % 2 == 1, "11110O10O10O10O10O0"),
    "sparse": (sparse(), "dcQm1Xo0djni3iPOkSSVL"),
    "empty": (np.zeros((2, 2), bool), "4"),
    "full": (np.ones((2, 2), bool), "04"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_strings_are_those_of_pycocotools(name):
    mask, counts = KNOWN[name]
    assert encode_mask(mask) == counts
    assert np.array_equal(decode_mask(counts, *mask.shape), mask)


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_every_mask_comes_back(mask):
    assert np.array_equal(decode_mask(encode_mask(mask), *mask.shape), mask)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_long_runs_come_back(height, width, data):
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mask = np.zeros((height, width), bool)
    mask[y:, x:] = True
    assert np.array_equal(decode_mask(encode_mask(mask), height, width), mask)


@pytest.mark.parametrize("counts", ["3", "5", "0P", "0~", "0 4"])
def test_a_string_that_does_not_fit_is_refused(counts):
    with pytest.raises(ValueError, match="RLE"):
        decode_mask(counts, 2, 2)
