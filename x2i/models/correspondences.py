"""Whether points that two images share agree on one geometry: a homography or a fundamental matrix, by RANSAC."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.match import Match

MIN_POINTS = 8
MAX_STRETCH = 10.0
SAME_PLACE = 4.0  # pixels
LOOSE = 3.0  # times the tolerance: in soft pictures the same spot is found some pixels apart


class View(Protocol):
    """An image. size: (width, height). scale: working pixels per pixel, in which distances are measured."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def scale(self) -> float: ...


def agreement(from_M2: NDArray[np.float32], to_M2: NDArray[np.float32], a: View, b: View, tolerance: float) -> Match:
    """Returns the agreement of two images by the better of the two geometric models.

    from_M2, to_M2: where a and b show the same, x and y in pixels of the images given; fewer than MIN_POINTS prove
    nothing. tolerance: how far, in working pixels, an inlier may lie from where the geometry puts it. RANSAC draws from
    a fixed seed.
    """
    count = len(from_M2)
    best = Match(matches=count)
    if count < MIN_POINTS:
        return best
    for model, inlier_M, homography_33 in (
        ("homography", *_homography(a, b, from_M2, to_M2, tolerance)),
        ("fundamental", *_fundamental(a, b, from_M2, to_M2, tolerance)),
    ):
        kept = _distinct(from_M2, to_M2, inlier_M, a.scale, b.scale)
        # A fundamental matrix binds a point to a line only and so always explains more: it must do so clearly.
        if len(kept) > best.inliers * (1.25 if best.inliers else 1):
            best = Match(
                matches=count,
                inliers=len(kept),
                inlier_ratio=float(inlier_M.sum()) / count,
                area_a=_hull_share(from_M2[kept], a.size),
                area_b=_hull_share(to_M2[kept], b.size),
                model=model,
                homography_33=homography_33,
            )
    return replace(best, similarity_33=_similarity(a, b, from_M2, to_M2, LOOSE * tolerance)) if best.model else best


def is_plausible(homography_33: NDArray[np.float64], points_N2: NDArray[np.float32]) -> bool:
    """Returns False for maps no camera makes around `points_N2`: mirrored, folded, or stretched beyond MAX_STRETCH."""
    points_3N = np.c_[points_N2.astype(np.float64), np.ones(len(points_N2))].T
    x_N, y_N, w_N = homography_33 @ points_3N
    if not (np.all(w_N > 1e-9) or np.all(w_N < -1e-9)):
        return False
    # Jacobian of (x/w, y/w), row by row.
    u_N, v_N = x_N / w_N, y_N / w_N
    h = homography_33
    ux, uy = (h[0, 0] - u_N * h[2, 0]) / w_N, (h[0, 1] - u_N * h[2, 1]) / w_N
    vx, vy = (h[1, 0] - v_N * h[2, 0]) / w_N, (h[1, 1] - v_N * h[2, 1]) / w_N
    stretch_N2 = np.linalg.svd(np.stack([np.stack([ux, uy], -1), np.stack([vx, vy], -1)], -2), compute_uv=False)
    upright = bool(np.all(ux * vy - uy * vx > 0))
    return upright and stretch_N2.max() < MAX_STRETCH and stretch_N2.min() > 1 / MAX_STRETCH


def _homography(
    a: View, b: View, from_M2: NDArray[np.float32], to_M2: NDArray[np.float32], tolerance: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
    nothing = np.zeros(len(from_M2), bool)
    matrix_33, mask = cv2.findHomography(
        from_M2 * a.scale, to_M2 * b.scale, cv2.RANSAC, tolerance, maxIters=4000, confidence=0.999
    )
    if matrix_33 is None or mask is None:
        return nothing, None
    matrix_33 = _of_given_images(matrix_33, a, b)
    inlier_M = mask.ravel().astype(bool)
    if inlier_M.sum() < 4 or not is_plausible(matrix_33, from_M2[inlier_M]):
        return nothing, None
    return inlier_M, matrix_33


def _fundamental(
    a: View, b: View, from_M2: NDArray[np.float32], to_M2: NDArray[np.float32], tolerance: float
) -> tuple[NDArray[np.bool_], None]:
    matrix_33, mask = cv2.findFundamentalMat(
        from_M2 * a.scale, to_M2 * b.scale, cv2.FM_RANSAC, tolerance / 2, 0.999, 4000
    )
    if matrix_33 is None or mask is None or matrix_33.shape != (3, 3):
        return np.zeros(len(from_M2), bool), None
    return mask.ravel().astype(bool), None


def _similarity(
    a: View, b: View, from_M2: NDArray[np.float32], to_M2: NDArray[np.float32], tolerance: float
) -> NDArray[np.float64] | None:
    matrix_23, _ = cv2.estimateAffinePartial2D(
        from_M2 * a.scale, to_M2 * b.scale, None, cv2.RANSAC, tolerance, maxIters=4000, confidence=0.999
    )
    if matrix_23 is None or np.linalg.det(matrix_23[:, :2]) <= 0:
        return None
    return _of_given_images(np.vstack([matrix_23, [0.0, 0.0, 1.0]]), a, b)


def _of_given_images(working_33: NDArray[np.float64], a: View, b: View) -> NDArray[np.float64]:
    """Returns a map between working pixels as one between pixels of the images given."""
    matrix_33: NDArray[np.float64] = np.diag([1 / b.scale, 1 / b.scale, 1.0]) @ working_33
    return matrix_33 @ np.diag([a.scale, a.scale, 1.0])


def _distinct(
    from_M2: NDArray[np.float32],
    to_M2: NDArray[np.float32],
    inlier_M: NDArray[np.bool_],
    scale_a: float,
    scale_b: float,
) -> NDArray[np.intp]:
    """Returns one inlier per place: SIFT puts several features on one corner, which prove no more than one."""
    rows = np.flatnonzero(inlier_M)
    for points_M2, scale in ((from_M2, scale_a), (to_M2, scale_b)):
        cells = np.floor(points_M2[rows] * scale / SAME_PLACE).astype(np.int64)
        rows = rows[np.sort(np.unique(cells, axis=0, return_index=True)[1])]
    return rows


def _hull_share(points_N2: NDArray[np.float32], size: tuple[int, int]) -> float:
    if len(points_N2) < 3:
        return 0.0
    return min(1.0, float(cv2.contourArea(cv2.convexHull(points_N2.astype(np.float32)))) / (size[0] * size[1]))
