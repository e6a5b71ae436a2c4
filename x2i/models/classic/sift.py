"""`classic:sift`: two images show the same thing if many distinctive spots agree on one geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Match, RgbImage
from x2i.models.backend import Backend
from x2i.options import Option

MIN_POINTS = 8
MAX_STRETCH = 10.0
SAME_PLACE = 4.0  # pixels


@dataclass(frozen=True)
class SiftFeatures:
    """The local features of one image, strongest first.

    points_N2: x, y in pixels of the image given, float32. descriptors_ND: D = 128, uint8.
    size: (width, height) of the image given. scale: working pixels per pixel of the image given, at most 1.
    """

    points_N2: NDArray[np.float32]
    descriptors_ND: NDArray[np.uint8]
    size: tuple[int, int]
    scale: float


@dataclass(frozen=True)
class Sift(Backend):
    """SIFT (Lowe, IJCV 2004) with RootSIFT descriptors (Arandjelovic and Zisserman, CVPR 2012), ratio test in both
    directions, then a homography and a fundamental matrix by RANSAC.

    max_features: strongest kept per image, 136 bytes each. max_side: images are shrunk to it, never enlarged.
    ratio: a match must be nearer than `ratio` times the second best, seen from either image.
    tolerance: how far, in working pixels, an inlier may lie from where the geometry puts it.
    contrast: weakest local contrast of a feature. A quarter of OpenCV's default, so that soft pictures have features;
    textured ones have more than max_features anyway.

    The result does not depend on order, batch or threads: descriptors are whole numbers, so that their dot products are
    exact in float32 however they are summed; RANSAC draws from a fixed seed over sorted matches, in one direction.
    """

    title: ClassVar[str] = "Local features and geometry; no weights"

    max_features: Annotated[int, Option("Strongest features kept of an image.", ge=8)] = 1000
    max_side: Annotated[int, Option("Longest side in pixels at which features are found.", ge=32)] = 800
    ratio: Annotated[float, Option("A match is nearer than this share of the second best.", gt=0, lt=1)] = 0.8
    tolerance: Annotated[float, Option("Pixels an inlier may lie off.", gt=0)] = 4.0
    contrast: Annotated[float, Option("Weakest local contrast of a feature.", ge=0)] = 0.01

    def features(self, images: Sequence[RgbImage]) -> list[SiftFeatures]:
        """Returns the features of each image; none for an image without texture."""
        return [self._features(image) for image in images]

    def match(self, a: SiftFeatures, b: SiftFeatures) -> Match:
        """Returns the agreement of two images, by the better of the two geometric models."""
        if _digest(b) < _digest(a):
            return _swapped(self._match(b, a))
        return self._match(a, b)

    def _features(self, image: RgbImage) -> SiftFeatures:
        height, width = image.shape[:2]
        scale = min(1.0, self.max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        luma_HW = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            luma_HW = cv2.resize(luma_HW, size, interpolation=cv2.INTER_AREA)
        sift = cv2.SIFT.create(nfeatures=self.max_features, contrastThreshold=self.contrast)
        found, descriptors = sift.detectAndCompute(luma_HW, None)
        if not found:
            return SiftFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), (width, height), scale)
        points_N2 = np.array([keypoint.pt for keypoint in found], np.float32)
        response_N = np.array([keypoint.response for keypoint in found])
        angle_N = np.array([keypoint.angle for keypoint in found])
        order = np.lexsort((angle_N, points_N2[:, 0], points_N2[:, 1], -response_N))[: self.max_features]
        share_ND = descriptors[order] / np.maximum(descriptors[order].sum(axis=1, keepdims=True), 1)
        root_ND = np.clip(np.round(np.sqrt(share_ND) * 512), 0, 255).astype(np.uint8)
        return SiftFeatures(points_N2[order] / np.float32(scale), root_ND, (width, height), scale)

    def _match(self, a: SiftFeatures, b: SiftFeatures) -> Match:
        i_M, j_M = mutual_matches(a.descriptors_ND, b.descriptors_ND, self.ratio)
        count = len(i_M)
        if count < MIN_POINTS:
            return Match(matches=count)
        from_M2, to_M2 = a.points_N2[i_M], b.points_N2[j_M]
        best = Match(matches=count)
        for model, inlier_M, homography_33 in (
            ("homography", *self._homography(a, b, from_M2, to_M2)),
            ("fundamental", *self._fundamental(a, b, from_M2, to_M2)),
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
        return best

    def _homography(
        self, a: SiftFeatures, b: SiftFeatures, from_M2: NDArray[np.float32], to_M2: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
        nothing = np.zeros(len(from_M2), bool)
        matrix_33, mask = cv2.findHomography(
            from_M2 * a.scale, to_M2 * b.scale, cv2.RANSAC, self.tolerance, maxIters=4000, confidence=0.999
        )
        if matrix_33 is None or mask is None:
            return nothing, None
        matrix_33 = np.diag([1 / b.scale, 1 / b.scale, 1.0]) @ matrix_33 @ np.diag([a.scale, a.scale, 1.0])
        inlier_M = mask.ravel().astype(bool)
        if inlier_M.sum() < 4 or not is_plausible(matrix_33, from_M2[inlier_M]):
            return nothing, None
        return inlier_M, matrix_33

    def _fundamental(
        self, a: SiftFeatures, b: SiftFeatures, from_M2: NDArray[np.float32], to_M2: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], None]:
        matrix_33, mask = cv2.findFundamentalMat(
            from_M2 * a.scale, to_M2 * b.scale, cv2.FM_RANSAC, self.tolerance / 2, 0.999, 4000
        )
        if matrix_33 is None or mask is None or matrix_33.shape != (3, 3):
            return np.zeros(len(from_M2), bool), None
        return mask.ravel().astype(bool), None


def mutual_matches(
    a_ND: NDArray[np.uint8], b_ND: NDArray[np.uint8], ratio: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns rows (i, j) of a and b that are each other's nearest and pass the ratio test both ways, best first."""
    if min(len(a_ND), len(b_ND)) < 2:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    a, b = a_ND.astype(np.float32), b_ND.astype(np.float32)
    # At most 128 * 255^2 < 2^24 per sum: every partial sum is a whole number that float32 holds exactly.
    distance_NM = a @ b.T
    distance_NM *= -2
    distance_NM += (a * a).sum(axis=1)[:, None]
    distance_NM += (b * b).sum(axis=1)[None, :]
    j_N, first_N, second_N = _two_nearest(distance_NM)
    i_M, first_M, second_M = _two_nearest(distance_NM.T)
    good_N, good_M = first_N < ratio**2 * second_N, first_M < ratio**2 * second_M
    rows = np.arange(len(a))
    kept = rows[good_N & good_M[j_N] & (i_M[j_N] == rows)]
    kept = kept[np.lexsort((kept, first_N[kept]))]
    return kept, j_N[kept]


def _two_nearest(
    distance_NM: NDArray[np.float32],
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Returns for each row its nearest column, that distance and the second smallest. Leaves its argument unchanged."""
    rows = np.arange(len(distance_NM))
    nearest_N = distance_NM.argmin(axis=1)
    first_N = distance_NM[rows, nearest_N]
    distance_NM[rows, nearest_N] = np.inf
    second_N = distance_NM.min(axis=1)
    distance_NM[rows, nearest_N] = first_N
    return nearest_N, first_N, second_N


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


def _digest(features: SiftFeatures) -> tuple[int, bytes]:
    return len(features.points_N2), features.descriptors_ND.tobytes()


def _swapped(match: Match) -> Match:
    homography_33 = None if match.homography_33 is None else np.linalg.inv(match.homography_33).astype(np.float64)
    return replace(match, area_a=match.area_b, area_b=match.area_a, homography_33=homography_33)
