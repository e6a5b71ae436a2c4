"""Geometric alignment: how the second image of a pair lies over the first, and what kind of change that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]

WORKING_SIDE = 1024
FEATURES, RATIO = 2000, 0.8
TOLERANCE = 2.0  # working pixels that an agreeing feature may lie off
MIN_AGREEING, MIN_SHARE, MIN_SPREAD = 12, 0.12, 0.15
MAX_TURN = 0.01  # rotation and shear, in radians, beyond which two images are different pictures
SAME_FRAME = 0.0025  # of the longer side, at least one pixel
SAME_ASPECT = 0.005
MIN_RESPONSE = 0.1  # of phase correlation; two unrelated photographs reach about half of it


class AlignmentKind(StrEnum):
    """What was done to the frame of the first image. STRETCH: unequal scales, whether cropped or not."""

    IDENTITY = "identity"
    RESIZE = "resize"
    CROP = "crop"
    STRETCH = "stretch"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Alignment:
    """The map from pixels of the first image to pixels of the second: x -> scale_x * x + offset_x, likewise y.

    Coordinates count from the top-left corner of the frame, so that a pure resize has offsets of 0.
    residual: root mean square distance, in pixels of the second image, of the agreeing features from the map.
    agreement: share of the matched features that the map explains, or the response of the phase correlation.
    method: "equal", "features", "phase" or "none".
    """

    kind: AlignmentKind
    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0
    residual: float = 0.0
    agreement: float = 0.0
    method: str = "none"

    @property
    def anisotropy(self) -> float:
        """How much wider than high the second image was made: scale_x / scale_y - 1."""
        return self.scale_x / self.scale_y - 1

    @property
    def in_line(self) -> bool:
        """Whether both images show the same frame, perhaps in different sizes."""
        return self.kind in (AlignmentKind.IDENTITY, AlignmentKind.RESIZE)

    @property
    def reason(self) -> str:
        """What is wrong with a pair that should be in line, for people; "" if nothing is."""
        if self.in_line:
            return ""
        if self.kind is AlignmentKind.DIFFERENT:
            return "the two images do not show the same scene from the same place"
        scales = f"scaled by {self.scale_x:.3f} x {self.scale_y:.3f}"
        return f"{self.kind}: {scales}, moved by {self.offset_x:.1f}, {self.offset_y:.1f} pixels"

    def as_json(self) -> dict[str, Any]:
        """Returns the measurements as JSON values."""
        numbers = {name: round(getattr(self, name), 5) for name in ("scale_x", "scale_y", "offset_x", "offset_y")}
        others = {name: round(getattr(self, name), 4) for name in ("anisotropy", "residual", "agreement")}
        return {"kind": str(self.kind), "method": self.method, **numbers, **others}


def measure_alignment(first: RgbImage, second: RgbImage) -> Alignment:
    """Returns how `second` lies over `first`, both uint8 RGB (height, width, 3).

    SIFT features and RANSAC find the map; where too few agree (blank pictures, another style), phase correlation of
    the gradients finds a shift between the frames. Neither sees through a rotation or a mirror: that is DIFFERENT.
    """
    if first.shape == second.shape and np.array_equal(first, second):
        return Alignment(AlignmentKind.IDENTITY, agreement=1.0, method="equal")
    return _by_features(first, second) or _by_phase(first, second) or Alignment(AlignmentKind.DIFFERENT)


def resized_like(first: RgbImage, second: RgbImage) -> RgbImage:
    """Returns `first` in the size of `second`: the repair of a pair whose kind is RESIZE."""
    import cv2

    if first.shape == second.shape:
        return first
    smooth = cv2.INTER_AREA if first.shape[0] > second.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(first, second.shape[1::-1], interpolation=smooth), np.uint8)


def _by_features(first: RgbImage, second: RgbImage) -> Alignment | None:
    import cv2

    (from_N2, from_ND, _), (to_N2, to_ND, to_scale) = _features(first), _features(second)
    if min(len(from_N2), len(to_N2)) < MIN_AGREEING:
        return None
    matches = [
        (pair[0].queryIdx, pair[0].trainIdx)
        for pair in cv2.BFMatcher(cv2.NORM_L2).knnMatch(from_ND, to_ND, k=2)
        if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance
    ]
    if len(matches) < MIN_AGREEING:
        return None
    rows = np.array(matches)
    from_M2, to_M2 = from_N2[rows[:, 0]], to_N2[rows[:, 1]]
    tolerance = TOLERANCE / to_scale
    matrix_23, mask = cv2.estimateAffine2D(
        from_M2, to_M2, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=5000, confidence=0.999
    )
    if matrix_23 is None:
        return None
    agree_M = mask.ravel() > 0
    distinct = len(np.unique(np.floor(from_M2[agree_M] / 4), axis=0))
    spread = np.ptp(from_M2[agree_M], axis=0) / (first.shape[1], first.shape[0]) if agree_M.any() else np.zeros(2)
    if distinct < MIN_AGREEING or agree_M.mean() < MIN_SHARE or spread.min() < MIN_SPREAD:
        return None
    share = float(agree_M.mean())
    if not _is_upright(np.asarray(matrix_23)):
        return Alignment(AlignmentKind.DIFFERENT, agreement=share, method="features")
    scale_2, offset_2, residual = _fitted(from_M2[agree_M], to_M2[agree_M])
    return _classified(first, second, scale_2, offset_2, residual, share, "features")


def _features(image: RgbImage) -> tuple[NDArray[np.float64], NDArray[np.float32], float]:
    """Returns points_N2 (x, y from the corner, in pixels of `image`), descriptors_ND, and working pixels a pixel."""
    import cv2

    height, width = image.shape[:2]
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WORKING_SIDE / max(height, width))
    if scale < 1:
        gray = cv2.resize(gray, (max(1, round(width * scale)), max(1, round(height * scale))), cv2.INTER_AREA)
    sift = cv2.SIFT.create(nfeatures=FEATURES, contrastThreshold=0.01, enable_precise_upscale=True)
    found, descriptors = sift.detectAndCompute(gray, None)
    points_N2 = np.array([point.pt for point in found], np.float64).reshape(-1, 2) + 0.5
    points_N2 *= (width / gray.shape[1], height / gray.shape[0])
    return points_N2, descriptors if found else np.zeros((0, 128), np.float32), scale


def _is_upright(matrix_23: NDArray[np.float64]) -> bool:
    """Returns whether an affine map neither turns, shears nor mirrors."""
    (a, b, _), (c, d, _) = matrix_23
    return bool(a > 0 and d > 0 and abs(b) < MAX_TURN * a and abs(c) < MAX_TURN * d)


def _fitted(
    from_M2: NDArray[np.float64], to_M2: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Returns scale_2, offset_2 and residual of the least-squares map of each axis, without the farthest points."""
    for _ in range(3):
        middle_2 = from_M2.mean(0)
        centered_M2 = from_M2 - middle_2
        scale_2 = (centered_M2 * (to_M2 - to_M2.mean(0))).sum(0) / np.maximum((centered_M2**2).sum(0), 1e-9)
        offset_2 = to_M2.mean(0) - scale_2 * middle_2
        distance_M = np.linalg.norm(from_M2 * scale_2 + offset_2 - to_M2, axis=1)
        near_M = distance_M <= max(3 * float(np.median(distance_M)), 0.05)
        if near_M.all() or near_M.sum() < MIN_AGREEING:
            break
        from_M2, to_M2 = from_M2[near_M], to_M2[near_M]
    return scale_2, offset_2, float(np.sqrt((distance_M**2).mean()))


def _by_phase(first: RgbImage, second: RgbImage) -> Alignment | None:
    """Returns the shift between the frames, the second brought to the size of the first; None if nothing agrees."""
    import cv2

    height, width = first.shape[:2]
    shrink = min(1.0, WORKING_SIDE / 2 / max(height, width))
    size = max(8, round(width * shrink)), max(8, round(height * shrink))
    one, other = (_gradients(cv2.resize(image, size, interpolation=cv2.INTER_AREA)) for image in (first, second))
    shift, response = cv2.phaseCorrelate(one, other, cv2.createHanningWindow(size, cv2.CV_32F))
    if response < MIN_RESPONSE:
        return None
    frame_2 = np.array(second.shape[1::-1], np.float64)
    offset_2 = np.array(shift) * frame_2 / size
    return _classified(first, second, frame_2 / (width, height), offset_2, 0.0, float(response), "phase")


def _gradients(image: RgbImage) -> NDArray[np.float32]:
    import cv2

    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    return np.asarray(cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)), np.float32)


def _classified(
    first: RgbImage,
    second: RgbImage,
    scale_2: NDArray[np.float64],
    offset_2: NDArray[np.float64],
    residual: float,
    agreement: float,
    method: str,
) -> Alignment:
    frame_2, to_2 = np.array(first.shape[1::-1]), np.array(second.shape[1::-1])
    off = max(float(np.abs(offset_2).max()), float(np.abs(frame_2 * scale_2 + offset_2 - to_2).max()))
    anisotropy = abs(scale_2[0] / scale_2[1] - 1)
    if anisotropy > max(SAME_ASPECT, 1.5 / min(*to_2, *frame_2)):  # sides are whole pixels
        kind = AlignmentKind.STRETCH
    elif off > max(1.0, SAME_FRAME * max(to_2)):
        kind = AlignmentKind.CROP
    else:
        kind = AlignmentKind.IDENTITY if first.shape == second.shape else AlignmentKind.RESIZE
    (scale_x, scale_y), (offset_x, offset_y) = scale_2.tolist(), offset_2.tolist()
    return Alignment(kind, scale_x, scale_y, offset_x, offset_y, residual, agreement, method)
