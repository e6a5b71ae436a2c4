"""A phrase states only what was measured, and fits no other object of the image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from x2i.annotate.referring_expressions import Region, color_name, position_name, refer
from x2i.models.abilities import Box

COLORS = {
    "red": (200, 20, 30),
    "orange": (250, 140, 10),
    "yellow": (240, 230, 20),
    "green": (30, 140, 40),
    "turquoise": (40, 200, 200),
    "blue": (30, 60, 200),
    "purple": (120, 30, 170),
    "pink": (250, 110, 180),
    "brown": (110, 70, 30),
    "black": (10, 12, 11),
    "white": (250, 250, 248),
    "gray": (128, 130, 127),
}


def scene(*spots: tuple[int, int, int, str]) -> tuple[np.ndarray, list[Region]]:
    """Discs of (x, y, radius, color) on a 300x300 canvas."""
    image = np.full((300, 300, 3), 60, np.uint8)
    regions = []
    for x, y, radius, color in spots:
        cv2.circle(image, (x, y), radius, COLORS[color], -1)
        mask = cv2.circle(np.zeros((300, 300), np.uint8), (x, y), radius, 1, -1).astype(bool)
        regions.append(Region(Box(x - radius, y - radius, x + radius + 1, y + radius + 1), mask))
    return image, regions


@pytest.mark.parametrize("name", COLORS)
def test_colors_have_their_names(name):
    image, (region,) = scene((150, 150, 40, name))
    assert color_name(image, region) == name


def test_a_color_without_a_majority_is_not_named():
    image, (region,) = scene((150, 150, 40, "red"))
    image[:, 120:140], image[:, 140:160] = COLORS["blue"], COLORS["green"]
    image[:, 160:180] = COLORS["yellow"]
    assert color_name(image, region) == ""
    assert refer(image, [region]) == ["the object in the center"]


def test_an_object_without_a_mask_has_no_color():
    image, (region,) = scene((40, 150, 30, "red"))
    assert refer(image, [Region(region.box)]) == ["the object on the left"]


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (50, 50, "in the top left"),
        (150, 50, "at the top"),
        (250, 150, "on the right"),
        (150, 150, "in the center"),
        (250, 250, "in the bottom right"),
        (150, 250, "at the bottom"),
    ],
)
def test_positions_are_ninths_of_the_image(x, y, words):
    image, (region,) = scene((x, y, 30, "red"))
    assert position_name(image, region) == words


def test_different_colors_or_places_tell_objects_apart():
    image, regions = scene((50, 150, 30, "red"), (250, 150, 30, "red"), (150, 150, 30, "blue"))
    assert refer(image, regions) == [
        "the red object on the left",
        "the red object on the right",
        "the blue object in the center",
    ]


def test_two_alike_are_told_apart_by_size_if_it_differs_clearly():
    image, regions = scene((125, 150, 20, "red"), (175, 150, 10, "red"))
    assert refer(image, regions) == ["the larger red object in the center", "the smaller red object in the center"]


def test_several_alike_are_counted_from_the_left():
    image, regions = scene((180, 150, 10, "red"), (120, 150, 10, "red"), (150, 150, 10, "red"))
    assert refer(image, regions) == [
        "the third red object from the left in the center",
        "the first red object from the left in the center",
        "the second red object from the left in the center",
    ]


def test_what_cannot_be_told_apart_has_no_phrase():
    image, regions = scene((150, 130, 12, "red"), (150, 170, 12, "red"))
    assert refer(image, regions) == [None, None]
    unmasked = [regions[0], Region(regions[1].box)]
    assert refer(image, unmasked) == [None, None]
