"""The gallery's measured maps: they agree with the geometry of the scene, and say nothing about other photographs."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from pipelines.gallery.measured import (
    CENTER_OFFSET,
    CENTER_X,
    CENTER_Y,
    FOCAL_LENGTH,
    KnownPeople,
    StereoDepth,
    StereoNormals,
    inverse_depth,
)
from tests.support.photographs import photograph
from tests.support.photos import photo

MOTORCYCLE = photograph("motorcycle_left.png", 741)
FLOOR = (slice(440, 480), slice(60, 300))


def test_the_depth_of_a_full_size_picture_is_the_measured_disparity():
    with np.load(str(files("skimage") / "data" / "motorcycle_disp.npz")) as stored:
        measured_HW = stored["arr_0"]
    (found_HW,) = StereoDepth().depth([MOTORCYCLE])
    known_HW = np.isfinite(measured_HW)
    np.testing.assert_allclose(found_HW[known_HW], measured_HW[known_HW] + CENTER_OFFSET, rtol=1e-6)
    assert np.isfinite(found_HW).all()


def test_a_gap_is_as_far_as_what_is_behind():
    with np.load(str(files("skimage") / "data" / "motorcycle_disp.npz")) as stored:
        row = stored["arr_0"][200]
    filled, known = inverse_depth()[200] - CENTER_OFFSET, np.flatnonzero(np.isfinite(row))
    for gap in np.flatnonzero(~np.isfinite(row)):
        beside = [row[known[known < gap][-1:]], row[known[known > gap][:1]]]
        assert filled[gap] == pytest.approx(float(np.concatenate(beside).min()), abs=1e-4)


def test_the_floor_has_the_normal_of_the_plane_through_its_points():
    inverse_HW = inverse_depth()
    y, x = np.mgrid[: inverse_HW.shape[0], : inverse_HW.shape[1]]
    rays_HW3 = np.dstack([(x - CENTER_X) / FOCAL_LENGTH, (y - CENTER_Y) / FOCAL_LENGTH, np.ones(x.shape)])
    points_N3 = (rays_HW3 / inverse_HW[..., None])[FLOOR].reshape(-1, 3)
    right, down, forward = np.linalg.svd(points_N3 - points_N3.mean(0), full_matrices=False)[2][2]
    plane = np.array([right, -down, -forward]) * -np.sign(down)  # x right, y up, z at the camera; floors face up
    (normals_HW3,) = StereoNormals().normals([MOTORCYCLE])
    floor = normals_HW3[FLOOR].reshape(-1, 3).mean(0)
    assert np.degrees(np.arccos(floor @ plane / np.linalg.norm(floor))) < 3
    assert (normals_HW3[..., 2] > 0).mean() > 0.95  # a surface that is seen faces the camera


@pytest.mark.parametrize("side", [128, 512])
def test_people_and_keypoints_follow_the_size_of_the_picture(side: int):
    backend, image = KnownPeople(), photo("camera", side)
    [[person]] = backend.detect([image], [["person"]])
    [[pose]] = backend.poses([image], [[person.box]])
    nose = pose.keypoints_K2[list(backend.names).index("nose")]
    assert np.abs(nose - np.array([254, 163]) * side / 512).max() < 1
    seen_K2 = pose.keypoints_K2[pose.scores_K > 0]
    assert (seen_K2 >= (person.box.x0, person.box.y0)).all()
    assert (seen_K2 <= (person.box.x1, person.box.y1)).all()


def test_nothing_is_said_about_another_photograph():
    other = photo("coffee", 256)
    assert np.isnan(StereoDepth().depth([other])[0]).all()
    assert np.isnan(StereoNormals().normals([other])[0]).all()
    assert KnownPeople().detect([other], [["person"]]) == [[]]
