"""SIFT matching agrees on the same thing, on nothing else, and always in the same way."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
import pytest

from tests.support.photographs import detail_shot, photograph
from x2i.models.classic.sift import Sift, mutual_matches
from x2i.models.correspondences import is_plausible
from x2i.models.match import Match


def same(a: Match, b: Match) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Match))


def test_the_homography_puts_the_detail_where_it_was_cut():
    photo = photograph("chelsea.png")
    detail = cv2.resize(photo[60:240, 100:340], None, fx=1.2, fy=1.2, interpolation=cv2.INTER_CUBIC)
    matcher = Sift()
    match = matcher.match(*matcher.features([detail, photo]))
    assert match.model == "homography"
    assert match.inliers >= 50
    assert match.area_a > 0.5 > match.area_b > 0.1
    corners = cv2.perspectiveTransform(np.array([[[0, 0], [288, 216]]], np.float32), match.homography_33)[0]
    assert np.abs(corners - [[100, 60], [340, 240]]).max() < 3


def test_swapping_the_images_swaps_the_result():
    matcher = Sift()
    photo = photograph("astronaut.png")
    a, b = matcher.features([photo, detail_shot(photo, "astronaut", 1)])
    forth, back = matcher.match(a, b), matcher.match(b, a)
    assert forth.inliers >= 15
    assert (forth.inliers, forth.matches, forth.model) == (back.inliers, back.matches, back.model)
    assert (forth.area_a, forth.area_b) == (back.area_b, back.area_a)
    unit = forth.homography_33 @ back.homography_33
    assert np.allclose(unit / unit[2, 2], np.eye(3), atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_result_does_not_depend_on_threads_batches_or_random_state(threads):
    photos = [photograph("rocket.jpg"), detail_shot(photograph("rocket.jpg"), "rocket", 0), photograph("coins.png")]
    matcher = Sift()
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        expected = [matcher.match(*matcher.features([photos[i], photos[j]])) for i, j in ((0, 1), (0, 2))]
        cv2.setNumThreads(threads)
        cv2.setRNGSeed(99)
        features = matcher.features(photos)
        assert all(same(matcher.match(features[0], features[k + 1]), expected[k]) for k in (0, 1))
    finally:
        cv2.setNumThreads(before)


def test_pictures_without_texture_match_nothing():
    matcher = Sift()
    flat, photo = matcher.features([np.full((64, 64, 3), 9, np.uint8), photograph("coffee.png")])
    assert len(flat.points_N2) == 0
    assert matcher.match(flat, photo) == Match()


def test_features_are_capped_and_strongest_first():
    few, many = (Sift(max_features=n).features([photograph("grass.png")])[0] for n in (50, 1000))
    assert len(few.points_N2) == 50
    assert len(many.points_N2) == 1000
    assert few.descriptors_ND.dtype == np.uint8
    assert np.array_equal(few.points_N2, many.points_N2[:50])


def test_matches_must_be_mutual_and_distinct():
    a = np.zeros((3, 128), np.uint8)
    a[0, 0], a[1, 1], a[2, 2] = 200, 200, 200
    b = a.copy()
    assert [rows.tolist() for rows in mutual_matches(a, b, 0.8)] == [[0, 1, 2], [0, 1, 2]]
    ambiguous = np.concatenate([b, b[:1]])  # two equal candidates for row 0
    assert [rows.tolist() for rows in mutual_matches(a, ambiguous, 0.8)] == [[1, 2], [1, 2]]


def test_mirrored_folded_and_absurdly_stretched_maps_are_not_plausible():
    square = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], np.float32)
    assert is_plausible(np.eye(3), square)
    assert is_plausible(-np.eye(3), square)  # the same map, other sign
    assert not is_plausible(np.diag([-1.0, 1, 1]), square)
    assert not is_plausible(np.diag([20.0, 1, 1]), square)
    assert not is_plausible(np.array([[1, 0, 0], [0, 1, 0], [-0.02, 0, 1.0]]), square)
