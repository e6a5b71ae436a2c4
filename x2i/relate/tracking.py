"""Following an object from one frame to another by OpenCV, and whether the camera stood still between the two."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage

POINTS, LEAST_POINTS = 200, 8
WINDOW = (21, 21)
RETURN_ERROR = 1.5
TOLERANCE = 3.0
LEAST_INLIERS = 0.5
LEAST_LIKENESS = 0.6
LEAST_VISIBLE = 0.85
SIDE, BLOCKS, BINS = 256, 8, 16
SAME_BLOCK = 0.85


@dataclass(frozen=True)
class Followed:
    """Where an object is in another frame.

    mask_HW: its mask there. matrix_23: maps pixels of the first frame to it: turned, scaled, shifted.
    likeness: correlation of the object's luma in both, -1 to 1. visible: share of it inside of the picture.
    """

    mask_HW: NDArray[np.bool_]
    matrix_23: NDArray[np.float64]
    likeness: float
    visible: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the mask in pixels, half-open."""
        rows, columns = np.nonzero(self.mask_HW)
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


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


def still_blocks(one: RgbImage, other: RgbImage) -> NDArray[np.bool_]:
    """Returns which of 8 x 8 blocks hold the same colors in both frames: (8, 8).

    Most do where the camera stood still, whatever moves before it; hardly any where it turned.
    """
    histograms = [_block_histograms(_small(image)) for image in (one, other)]
    shared = np.minimum(*histograms).sum(axis=-1)
    return np.asarray(shared >= SAME_BLOCK)


def changed_share(one: RgbImage, other: RgbImage, least: float = 18.0) -> float:
    """Returns the share of the pixels that differ by more than `least` levels after a slight blur."""
    small = [cv2.GaussianBlur(_small(image), (5, 5), 0) for image in (one, other)]
    return float((cv2.absdiff(*small).max(axis=2) > least).mean())


def _small(image: RgbImage) -> RgbImage:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


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
    return Followed(moved_HW, matrix_23, likeness, min(1.0, visible)) if likeness >= LEAST_LIKENESS else None


def _block_histograms(image: RgbImage) -> NDArray[np.float64]:
    """Returns the shares of luma's and chroma's BINS in each block: (8, 8, 3 * BINS), each summing to 1."""
    side = image.shape[0] // BLOCKS
    planes = (cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb) // (256 // BINS)).reshape(BLOCKS, side, BLOCKS, side, 3)
    onehot = planes[..., None] == np.arange(BINS, dtype=np.uint8)
    counts = onehot.sum(axis=(1, 3)).reshape(BLOCKS, BLOCKS, 3 * BINS)
    return np.asarray(counts / (3 * side * side))
