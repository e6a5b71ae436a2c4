"""The quality column measures what it says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.support.photographs import photograph
from x2i.annotate.base import StoredImage
from x2i.annotate.quality import Quality


def scores(image: np.ndarray) -> dict[str, float | int]:
    return Quality().facts(StoredImage("k", {}, {}, image))


def test_resolution_and_aspect_are_those_of_the_pixels():
    measured = scores(np.zeros((200, 500, 3), np.uint8))
    assert (measured["min_side"], measured["megapixels"], measured["aspect_ratio"]) == (200, 0.1, 2.5)


def test_blur_lowers_sharpness_and_light_raises_exposure():
    photo = photograph("chelsea.png")
    plain = scores(photo)
    assert scores(cv2.GaussianBlur(photo, (0, 0), 4))["sharpness"] < 0.1 * plain["sharpness"]
    assert scores(np.clip(photo.astype(int) + 60, 0, 255).astype(np.uint8))["exposure"] > plain["exposure"] + 0.15


def test_an_empty_picture_has_the_lowest_scores():
    measured = scores(np.zeros((64, 64, 3), np.uint8))
    for name in ("sharpness", "exposure", "contrast", "entropy", "phash"):
        assert measured[name] == 0
    assert measured["clipped"] == 1


def test_half_black_half_white_holds_one_bit():
    image = np.zeros((64, 64, 3), np.uint8)
    image[32:] = 255
    measured = scores(image)
    assert measured["entropy"] == pytest.approx(1)
    assert measured["contrast"] == pytest.approx(0.5)
