"""Geometric alignment: known scales, shifts, stretches and crops are measured; kinds are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.alignment import errors, pairs
from tests.support.photos import photo
from x2i.image.alignment import AlignmentKind, measure_alignment, resized_like
from x2i.seeding import generator


def test_geometry_is_measured_to_half_a_pixel_and_half_a_percent_and_kinds_are_never_mistaken() -> None:
    for pair in pairs(10, seed=7):
        found = measure_alignment(pair.first, pair.second)
        assert found.kind == pair.kind, found
        assert (found.reason == "") == (pair.kind in ("identity", "resize"))
        if found.kind is not AlignmentKind.DIFFERENT:
            of_scale, of_offset = errors(pair, found)
            assert of_scale < 0.5
            assert of_offset < 0.5
            assert found.residual < 1


def test_an_image_is_in_line_with_itself_whatever_it_shows() -> None:
    for name in ("astronaut", "flat"):
        found = measure_alignment(photo(name), photo(name))
        assert (found.kind, found.scale_x, found.offset_x) == (AlignmentKind.IDENTITY, 1.0, 0.0)


def test_a_shift_is_found_by_phase_where_no_feature_agrees() -> None:
    image = photo("coffee", 320)
    negative = 255 - image
    found = measure_alignment(image, negative)
    assert (found.kind, found.method) == (AlignmentKind.IDENTITY, "phase")
    moved = measure_alignment(image, np.roll(negative, (6, -9), (0, 1)))
    assert (moved.kind, moved.method) == (AlignmentKind.CROP, "phase")
    assert (moved.offset_x, moved.offset_y) == (pytest.approx(-9, abs=0.5), pytest.approx(6, abs=0.5))


def test_pictures_without_anything_in_common_are_different() -> None:
    noise = generator("noise").integers(0, 255, (200, 200, 3)).astype(np.uint8)
    for other in (noise, np.ascontiguousarray(photo("astronaut")[::-1]), photo("coffee")):
        assert measure_alignment(photo("astronaut"), other).kind is AlignmentKind.DIFFERENT


def test_a_resized_pair_is_brought_to_the_size_of_its_second_image() -> None:
    after = photo("chelsea", 200)
    repaired = resized_like(photo("chelsea", 256), after)
    assert repaired.shape == after.shape
    assert measure_alignment(repaired, after).kind is AlignmentKind.IDENTITY
