"""Scores of pixels against pictures whose truth is known: edits of our own, and JPEG at several qualities."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.support.annotating import verdicts
from tests.support.photographs import photograph
from x2i.annotate.base import Annotation
from x2i.annotate.borders import Borders
from x2i.annotate.colorfulness import Colorfulness
from x2i.annotate.flatness import Flatness
from x2i.annotate.jpeg_blockiness import JpegBlockiness
from x2i.image import decode, encode

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "grass.png", "motorcycle_left.png")


def score(annotation: Annotation, image: np.ndarray) -> dict:
    (verdict,) = verdicts(annotation, [np.ascontiguousarray(image)])
    return verdict


def desaturated(image: np.ndarray, share: float) -> np.ndarray:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(float)
    return np.rint(gray + (image - gray) * share).astype(np.uint8)


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png"])
def test_colorfulness_falls_with_saturation_to_zero(name):
    photo = photograph(name)
    scores = [score(Colorfulness(), desaturated(photo, share))["score"] for share in (1, 0.75, 0.5, 0.25, 0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] == pytest.approx(scores[0] / 2, rel=0.05)
    assert scores[-1] < 0.5


def test_colorfulness_is_the_formula_of_the_paper():
    image = photograph("coffee.png")
    red, green, blue = (image[..., channel].astype(float) for channel in range(3))
    first, second = red - green, (red + green) / 2 - blue
    spread, mean = np.hypot(first.std(), second.std()), np.hypot(first.mean(), second.mean())
    assert score(Colorfulness(), image)["score"] == pytest.approx(spread + 0.3 * mean, rel=1e-4)


@pytest.mark.parametrize("name", PHOTOS)
def test_blockiness_rises_as_jpeg_quality_falls(name):
    photo = photograph(name)
    scores = [score(JpegBlockiness(), decode(encode(photo, "jpeg", quality)))["score"] for quality in (95, 60, 30, 10)]
    assert scores == sorted(scores)
    assert scores[0] < 0.3
    assert scores[1] > max(0.35, 4 * scores[0])
    assert scores[3] > 3


def test_blockiness_of_a_crop_is_that_of_the_whole_and_blur_takes_it_away():
    compressed = decode(encode(photograph("coffee.png"), "jpeg", 20))
    whole = score(JpegBlockiness(), compressed)["score"]
    assert score(JpegBlockiness(), compressed[5:, 3:])["score"] == pytest.approx(whole, rel=0.05)
    assert score(JpegBlockiness(), cv2.GaussianBlur(compressed, (0, 0), 2))["score"] < 0.1 * whole


def test_blockiness_takes_no_other_texture_for_blocks():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    checks = np.kron(np.indices((26, 26)).sum(0) % 2, np.ones((10, 10), np.uint8))[..., None].repeat(3, 2) * 200
    assert score(JpegBlockiness(), noise)["score"] < 0.5
    assert score(JpegBlockiness(), checks.astype(np.uint8))["score"] < 1
    assert score(JpegBlockiness(), noise[:31])["score"] is None


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("bars", "color"), [((40, 31, 0, 0), 0), ((0, 0, 17, 60), 255), ((9, 12, 20, 8), 128)])
def test_borders_are_those_that_were_drawn_through_jpeg(name, bars, color):
    framed = cv2.copyMakeBorder(photograph(name), *bars, cv2.BORDER_CONSTANT, value=(color,) * 3)
    drawn = dict(zip(("top", "bottom", "left", "right"), bars))
    assert {side: width for side, width in score(Borders(), framed).items() if side in drawn} == drawn
    found = score(Borders(), decode(encode(framed, "jpeg", 90)))
    # Ringing and halved color make a few lines beside the picture unlike the bar.
    assert all(drawn[side] - 4 <= found[side] <= drawn[side] for side in drawn), found
    height, width = framed.shape[:2]
    inside = (height - bars[0] - bars[1]) * (width - bars[2] - bars[3])
    assert found["share"] == pytest.approx(1 - inside / (height * width), abs=0.02)


def test_a_picture_of_one_color_is_all_bar_and_a_photograph_has_none():
    assert score(Borders(), np.full((30, 50, 3), 7, np.uint8)) == {
        "top": 30, "bottom": 0, "left": 0, "right": 0, "share": 1
    }  # fmt: skip
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"):
        assert score(Borders(), photograph(name))["share"] == 0


def test_flatness_is_the_share_that_was_blanked():
    photo = photograph("grass.png")[:512, :512].copy()
    assert score(Flatness(), photo)["score"] == 0
    for rows in (128, 256, 384, 512):
        blanked = photo.copy()
        blanked[:rows] = (250, 250, 250)
        assert score(Flatness(), blanked)["score"] == rows / 512


@pytest.mark.parametrize("size", [(5, 7), (64, 64), (100, 333)])
def test_blank_pictures_are_flat_with_noise_and_in_any_size(size):
    random = np.random.default_rng(0)
    blank = (200 + random.integers(-3, 4, (*size, 3))).astype(np.uint8)
    found = score(Flatness(), blank)
    assert found["score"] == 1
    assert found["range"] < 0.05
    assert score(Flatness(), photograph("astronaut.png"))["range"] > 0.9


def test_colors_of_one_luma_are_not_flat():
    image = np.full((64, 64, 3), (200, 50, 50), np.uint8)
    image[::2] = (50, 127, 50)
    found = score(Flatness(), image)
    assert (found["score"], found["range"]) == (0, pytest.approx(150 / 255))
