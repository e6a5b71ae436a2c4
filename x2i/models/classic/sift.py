"""`classic:sift`: two images show the same thing if many distinctive spots agree on one geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage
from x2i.models.backend import Backend
from x2i.models.correspondences import agreement
from x2i.models.match import Match
from x2i.options import Option


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
            return self._match(b, a).swapped()
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
        return agreement(a.points_N2[i_M], b.points_N2[j_M], a, b, self.tolerance)


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


def _digest(features: SiftFeatures) -> tuple[int, bytes]:
    return len(features.points_N2), features.descriptors_ND.tobytes()
