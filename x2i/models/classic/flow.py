"""`classic:flow`: objects are followed from frame to frame by optical flow, and by local features where it fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage, Tracked
from x2i.models.backend import Backend

POINTS, LEAST_POINTS = 200, 8
WINDOW = (21, 21)
RETURN_ERROR = 1.5
TOLERANCE = 3.0
LEAST_INLIERS = 0.5
LEAST_LIKENESS = 0.6
LEAST_VISIBLE = 0.85


@dataclass(frozen=True)
class Followed(Tracked):
    """Where an object is in another frame; its score is the correlation of its luma in both, -1 to 1.

    matrix_23: maps pixels of the first frame to it: turned, scaled, shifted. visible: share of it in the picture.
    """

    matrix_23: NDArray[np.float64]
    visible: float


@dataclass(frozen=True)
class FlowTracker(Backend):
    """Each step from one frame to the next is small; an object that is lost once is not looked for again."""

    title: ClassVar[str] = "Objects followed by optical flow and SIFT; no weights"

    def track(self, frames: Iterable[RgbImage], masks: Sequence[NDArray[np.bool_]]) -> Iterator[list[Tracked | None]]:
        """Yields where each object is in each frame but the first, whose masks are given."""
        before: RgbImage | None = None
        now: list[NDArray[np.bool_] | None] = list(masks)
        for pixels in frames:
            if before is not None:
                found = [None if mask_HW is None else follow(before, pixels, mask_HW) for mask_HW in now]
                yield list(found)
                now = [None if one is None else one.mask_HW for one in found]
            before = pixels


def follow(one: RgbImage, other: RgbImage, mask_HW: NDArray[np.bool_]) -> Followed | None:
    """Returns where the object under `mask_HW` of frame `one` is in frame `other`; None where it is not found again.

    Points on the object are followed by optical flow (Lucas and Kanade, in pyramids) there and back; where they go
    too far for it, SIFT features are matched. A similarity transform by RANSAC must explain them, most of the object
    must be inside of the picture, and look as before.
    """
    if not mask_HW.any():
        return None
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (one, other)]
    for find in (_by_flow, _by_features):
        from_N2, to_N2 = find(grays[0], grays[1], mask_HW)
        if len(from_N2) < LEAST_POINTS:
            continue
        matrix_23, inliers = cv2.estimateAffinePartial2D(from_N2, to_N2, None, cv2.RANSAC, TOLERANCE)
        if matrix_23 is None or inliers.sum() < max(LEAST_POINTS, LEAST_INLIERS * len(from_N2)):
            continue
        found = _seen(grays[0], grays[1], mask_HW, np.asarray(matrix_23, np.float64))
        if found is not None:
            return found
    return None


def _by_flow(
    one: NDArray[np.uint8], other: NDArray[np.uint8], mask_HW: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    empty = np.zeros((0, 2), np.float32)
    points = cv2.goodFeaturesToTrack(one, POINTS, 0.01, 3, mask=mask_HW.astype(np.uint8))
    if points is None:
        return empty, empty
    there, found, _ = cv2.calcOpticalFlowPyrLK(one, other, points, None, winSize=WINDOW, maxLevel=4)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(other, one, there, None, winSize=WINDOW, maxLevel=4)
    error = np.linalg.norm((back - points).reshape(-1, 2), axis=1)
    good = (found.ravel() == 1) & (returned.ravel() == 1) & (error < RETURN_ERROR)
    return points.reshape(-1, 2)[good], there.reshape(-1, 2)[good]


def _by_features(
    one: NDArray[np.uint8], other: NDArray[np.uint8], mask_HW: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    empty = np.zeros((0, 2), np.float32)
    sift = cv2.SIFT.create(nfeatures=1000, contrastThreshold=0.01)
    points_a, descriptors_a = sift.detectAndCompute(one, mask_HW.astype(np.uint8))
    points_b, descriptors_b = sift.detectAndCompute(other, None)
    if len(points_a) < LEAST_POINTS or len(points_b) < LEAST_POINTS:
        return empty, empty
    found = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors_a, descriptors_b, k=2)
    good = [pair[0] for pair in found if len(pair) == 2 and pair[0].distance < 0.75 * pair[1].distance]
    from_N2 = np.array([points_a[match.queryIdx].pt for match in good], np.float32).reshape(-1, 2)
    return from_N2, np.array([points_b[match.trainIdx].pt for match in good], np.float32).reshape(-1, 2)


def _seen(
    one: NDArray[np.uint8], other: NDArray[np.uint8], mask_HW: NDArray[np.bool_], matrix_23: NDArray[np.float64]
) -> Followed | None:
    height, width = other.shape
    moved_HW = cv2.warpAffine(mask_HW.astype(np.uint8), matrix_23, (width, height), flags=cv2.INTER_NEAREST) > 0
    scale_2 = abs(float(np.linalg.det(matrix_23[:, :2])))
    visible = float(moved_HW.sum()) / max(1.0, scale_2 * float(mask_HW.sum()))
    if not moved_HW.any() or not 1 / 9 < scale_2 < 9 or visible < LEAST_VISIBLE:
        return None
    warped = cv2.warpAffine(one, matrix_23, (width, height), flags=cv2.INTER_LINEAR)[moved_HW].astype(np.float64)
    there = other[moved_HW].astype(np.float64)
    spread = warped.std() * there.std()
    likeness = float(((warped - warped.mean()) * (there - there.mean())).mean() / spread) if spread > 1 else 0.0
    return Followed(moved_HW, likeness, matrix_23, min(1.0, visible)) if likeness >= LEAST_LIKENESS else None
