"""Backends that know a few photographs of scikit-image: depth and normals measured by stereo, keypoints set by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Box, Detection, Pose, RgbImage
from x2i.models.backend import Backend

STEREO = "motorcycle_left.png"
"""The left picture of a stereo pair, with the measured disparity of most of its pixels in motorcycle_disp.npz."""
FOCAL_LENGTH, CENTER_X, CENTER_Y, CENTER_OFFSET = 994.978, 311.193, 254.877, 31.086
"""Of that pair in pixels, by its documentation; the offset is between the centers of its two pictures."""
BORDER = 24
"""Pixels around the picture, farther than the smoothing reaches."""
MOST_DIFFERENCE = 12
"""Mean difference in levels of gray up to which an image is a copy of the photograph."""

SEEN, HIDDEN, OUTSIDE = 1.0, 0.5, 0.0


@dataclass(frozen=True)
class Person:
    """One person of a photograph of 512 x 512 pixels. points: (x, y, score) of COCO's 17 keypoints, set by hand."""

    box: Box
    points: tuple[tuple[int, int, float], ...]


_UNKNOWN = (0, 0, OUTSIDE)
PEOPLE: Mapping[str, Person] = {
    "astronaut.png": Person(
        Box(18, 14, 345, 512),
        (
            *((228, 125, SEEN), (247, 102, SEEN), (205, 101, SEEN), (272, 120, HIDDEN), (176, 122, HIDDEN)),
            *((320, 246, SEEN), (98, 222, SEEN), _UNKNOWN, (56, 448, SEEN), _UNKNOWN, (150, 492, SEEN)),
            *[_UNKNOWN] * 6,
        ),
    ),
    "camera.png": Person(
        Box(0, 62, 335, 512),
        (
            *((254, 163, SEEN), _UNKNOWN, (231, 145, SEEN), _UNKNOWN, (188, 141, SEEN)),
            *((160, 195, HIDDEN), (78, 172, SEEN), (246, 300, SEEN), (58, 320, HIDDEN), (285, 246, SEEN)),
            *((184, 250, SEEN), (88, 405, HIDDEN), (45, 400, HIDDEN), *[_UNKNOWN] * 4),
        ),
    ),
}
KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)


@dataclass(frozen=True)
class StereoDepth(Backend):
    """Inverse depth in pixels of disparity, of one photograph; not a number for every other image."""

    title: ClassVar[str] = "Depth of one photograph, measured by stereo"

    def depth(self, images: Sequence[RgbImage]) -> list[NDArray[np.float32]]:
        return [_of_photograph(inverse_depth(), image) for image in images]


@dataclass(frozen=True)
class StereoNormals(Backend):
    """Normals of one photograph: x points right, y up, z at the camera. Not a number for every other image."""

    title: ClassVar[str] = "Surface normals of one photograph, from its measured depth"

    def normals(self, images: Sequence[RgbImage]) -> list[NDArray[np.float32]]:
        return [_unit(_of_photograph(surface_normals(), image)) for image in images]


@dataclass(frozen=True)
class KnownPeople(Backend):
    """The people of two photographs, and their poses."""

    title: ClassVar[str] = "People and keypoints of two photographs, set by hand"
    needs_phrases: ClassVar[bool] = False

    names: ClassVar[Sequence[str]] = KEYPOINTS
    limbs: ClassVar[Sequence[tuple[int, int]]] = ()  # those of COCO's keypoints are known

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        return [[Detection(_scaled(one.box, image), 1.0, "person") for one in _people(image)] for image in images]

    def poses(self, images: Sequence[RgbImage], people: Sequence[Sequence[Box]]) -> list[list[Pose]]:
        return [[_pose(one, image) for one in _people(image)] for image in images]


@cache
def inverse_depth() -> NDArray[np.float32]:
    """Returns the disparity_HW plus the offset of the centers, which is in proportion to 1 / depth.

    A pixel without a measurement gets the farther of its nearest measured neighbors to the left and right: it is
    mostly one that the other camera could not see behind something near.
    """
    with np.load(str(files("skimage") / "data" / "motorcycle_disp.npz")) as stored:
        disparity_HW = stored["arr_0"].astype(np.float32)
    disparity_HW[~np.isfinite(disparity_HW)] = np.nan
    filled_HW = np.fmin(_carried_right(disparity_HW), _carried_right(disparity_HW[:, ::-1])[:, ::-1])
    return filled_HW + np.float32(CENTER_OFFSET)


def _carried_right(map_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the map with each gap filled by the last value to its left."""
    columns = np.where(np.isnan(map_HW), 0, np.arange(map_HW.shape[1]))
    return np.take_along_axis(map_HW, np.maximum.accumulate(columns, axis=1), axis=1)


@cache
def surface_normals() -> NDArray[np.float32]:
    """Returns the normals_HW3 of the photograph. Where a plane n . P = d is seen, 1 / depth is linear in the pixel."""
    inverse_HW = np.pad(inverse_depth(), BORDER, "reflect", reflect_type="odd")  # slopes go on beyond the border
    for _ in range(4):  # differences of a map that is measured to a twentieth of a pixel are noise without it
        inverse_HW = cv2.bilateralFilter(inverse_HW, 11, sigmaColor=1.0, sigmaSpace=4.0)
    inverse_HW = inverse_HW[BORDER:-BORDER, BORDER:-BORDER]
    down_HW, right_HW = _slope(inverse_HW.T).T, _slope(inverse_HW)
    y, x = np.mgrid[: inverse_HW.shape[0], : inverse_HW.shape[1]].astype(np.float32)
    toward_HW = inverse_HW - (x - CENTER_X) * right_HW - (y - CENTER_Y) * down_HW
    return _unit(np.dstack([-FOCAL_LENGTH * right_HW, FOCAL_LENGTH * down_HW, toward_HW]).astype(np.float32))


def _slope(map_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the change per column, on the side of each pixel where it is less: no slope leads over an edge."""
    steps_HW = np.diff(map_HW, axis=1)
    before_HW, after_HW = np.pad(steps_HW, ((0, 0), (1, 0)), "edge"), np.pad(steps_HW, ((0, 0), (0, 1)), "edge")
    return np.where(np.abs(before_HW) < np.abs(after_HW), before_HW, after_HW)


def _unit(vectors_HW3: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors_HW3 / np.linalg.norm(vectors_HW3, axis=2, keepdims=True)


def _of_photograph(map_HWC: NDArray[np.float32], image: RgbImage) -> NDArray[np.float32]:
    """Returns the map of the stereo photograph at the size of `image`; not a number if it shows something else."""
    if _shown(image, [STEREO]) is None:
        return np.full((*image.shape[:2], *map_HWC.shape[2:]), np.nan, np.float32)
    return cv2.resize(map_HWC, image.shape[1::-1], interpolation=cv2.INTER_AREA)


def _people(image: RgbImage) -> list[Person]:
    name = _shown(image, PEOPLE)
    return [PEOPLE[name]] if name else []


def _pose(person: Person, image: RgbImage) -> Pose:
    points_K3 = np.array(person.points, np.float32)
    return Pose(points_K3[:, :2] * _scale(image), points_K3[:, 2])


def _scaled(box: Box, image: RgbImage) -> Box:
    across, down = _scale(image)
    return Box(*(round(float(side)) for side in (box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)))


def _scale(image: RgbImage) -> NDArray[np.float32]:
    return np.array(image.shape[1::-1], np.float32) / np.float32(512)


def _shown(image: RgbImage, names: Iterable[str]) -> str | None:
    """Returns which of the photographs `image` is a copy of, at whatever size; None if none."""
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    differences = {name: float(np.abs(small - _small(name)).mean()) for name in names}
    nearest = min(differences, key=lambda name: differences[name])
    return nearest if differences[nearest] <= MOST_DIFFERENCE else None


@cache
def _small(name: str) -> NDArray[np.float32]:
    pixels = cv2.imread(str(files("skimage") / "data" / name), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None, name
    return cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
