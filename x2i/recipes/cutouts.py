"""Objects cut out of photographs: their surroundings, or the object alone, varied so that it is no literal copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.reasons import Dropped, Reason
from x2i.recipes.base import RgbImage

LEAST_SIDE = 24
MOST_ENLARGED = 4.0
PLAIN_LEVELS = (255, 245, 235, 128)
"""Gray levels of plain backgrounds, with equal chance."""


@dataclass(frozen=True)
class Varied:
    """How an object is shown.

    degrees: turned. scale: of the largest size that fits. corners: how far each corner of its box moves, as shares of
    its sides, (4, 2). gain, gamma: of the light. balance: of red, green and blue.
    place: where the object lies in the room that is left, 0 to 1 along x and y. level: gray of the background.
    """

    degrees: float
    scale: float
    corners: tuple[tuple[float, float], ...]
    gain: float
    gamma: float
    balance: tuple[float, float, float]
    mirror: bool
    place: tuple[float, float]
    level: int

    @classmethod
    def drawn(
        cls,
        random: np.random.Generator,
        rotation: float,
        scale: tuple[float, float],
        tilt: float,
        light: float,
        mirror: float,
    ) -> Varied:
        """Draws a variation: see the options of `EntityToImage` for the ranges."""
        corners = random.uniform(-tilt, tilt, (4, 2)).round(4)
        return cls(
            degrees=round(float(random.uniform(-rotation, rotation)), 2),
            scale=round(float(random.uniform(*scale)), 4),
            corners=tuple((float(x), float(y)) for x, y in corners),
            gain=round(float(random.uniform(1 - light, 1 + light)), 4),
            gamma=round(float(np.exp2(random.uniform(-light, light))), 4),
            balance=tuple(random.uniform(1 - light / 3, 1 + light / 3, 3).round(4).tolist()),
            mirror=bool(random.uniform() < mirror),
            place=(round(float(random.uniform(0.3, 0.7)), 4), round(float(random.uniform(0.3, 0.7)), 4)),
            level=PLAIN_LEVELS[int(random.integers(len(PLAIN_LEVELS)))],
        )

    def as_json(self) -> dict[str, Any]:
        """Returns what the parameters of a sample say about it."""
        return {**vars(self), "corners": [list(corner) for corner in self.corners], "place": list(self.place)} | {
            "balance": list(self.balance)
        }

    def relit(self, image: RgbImage) -> RgbImage:
        """Returns an image_HWC in the other light."""
        levels = np.arange(256)[:, None] / 255
        table = np.clip(levels**self.gamma * self.gain * np.array(self.balance), 0, 1)
        lit: RgbImage = cv2.LUT(image, np.rint(table * 255).astype(np.uint8).reshape(256, 1, 3))
        return lit

    def mirrored(self, image: RgbImage) -> RgbImage:
        return np.ascontiguousarray(image[:, ::-1]) if self.mirror else image

    def placement(self, box: Sequence[int], height: int, width: int) -> NDArray[np.float64]:
        """Returns the matrix_33 that takes an object from its box to its place in a picture of height x width."""
        x0, y0, x1, y1 = box
        sides = np.array([x1 - x0, y1 - y0], float)
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
        from_42 = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)
        to_42 = (signs / 2 + np.array(self.corners)) * sides
        if self.mirror:
            to_42 = to_42 * [-1, 1]
        angle = np.deg2rad(self.degrees)
        to_42 = to_42 @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        extent = to_42.max(axis=0) - to_42.min(axis=0)
        to_42 *= self.scale * min(np.array([width, height]) / extent)
        room = np.array([width, height]) - (to_42.max(axis=0) - to_42.min(axis=0))
        to_42 += room * self.place - to_42.min(axis=0)
        return np.asarray(cv2.getPerspectiveTransform(from_42.astype(np.float32), to_42.astype(np.float32)), np.float64)


def cut_out(
    image: RgbImage, mask_HW: NDArray[np.bool_], erosion: float, varied: Varied, random: np.random.Generator
) -> RgbImage | Dropped:
    """Returns the object alone, varied, on a plain background in a picture of the photograph's size.

    erosion: how much of the object's size its border loses at most; see `eroded`.
    """
    kept_HW = eroded(mask_HW, erosion, random)
    rows, columns = np.nonzero(kept_HW)
    if not len(rows) or min(np.ptp(rows), np.ptp(columns)) < LEAST_SIDE:
        return Dropped(Reason.TOO_SMALL, "an object of less than a few pixels")
    box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    height, width = image.shape[:2]
    matrix_33 = varied.placement(box, height, width)
    if np.sqrt(abs(np.linalg.det(matrix_33[:2, :2]))) > MOST_ENLARGED:
        return Dropped(Reason.TOO_SMALL, "an object that would be blurred by enlarging it")
    lit = varied.relit(image)
    shown = cv2.warpPerspective(lit, matrix_33, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    soft_HW = cv2.GaussianBlur(kept_HW.astype(np.float32), (0, 0), 0.7)
    alpha_HW1 = cv2.warpPerspective(soft_HW, matrix_33, (width, height), flags=cv2.INTER_LINEAR)[..., None]
    blended = shown * alpha_HW1 + varied.level * (1 - alpha_HW1)
    return np.rint(blended).astype(np.uint8)


def eroded(mask_HW: NDArray[np.bool_], share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Returns the mask without an uneven strip along its border: up to `share` of the root of its area wide.

    A cut along the exact outline betrays where the object was; an uneven one does not.
    """
    area = int(mask_HW.sum())
    noise = random.uniform(size=(9, 9)).astype(np.float32)
    if share == 0 or area == 0:
        return mask_HW
    height, width = mask_HW.shape
    depth_HW = np.clip(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1) * (share * area**0.5)
    distance_HW = cv2.distanceTransform(mask_HW.astype(np.uint8), cv2.DIST_L2, 5)
    kept: NDArray[np.bool_] = distance_HW > depth_HW
    return kept


def around(
    image: RgbImage, box: Sequence[int], size: Sequence[int], margin: float
) -> tuple[RgbImage, Mapping[str, Any]] | Dropped:
    """Returns the part of a photograph around a box, in the photograph's shape and size, and where it was.

    box: x0, y0, x1, y1 in an image of `size` (height, width); without one the whole photograph is shown.
    margin: how much larger than the box the part is; it stays inside of the photograph.
    """
    height, width = image.shape[:2]
    if not len(box):
        return image, {}
    x0, y0, x1, y1 = np.array(box) * np.array([width / size[1], height / size[0]] * 2)
    share = min(1.0, margin * max((x1 - x0) / width, (y1 - y0) / height))
    if 1 / share > MOST_ENLARGED:
        share = 1 / MOST_ENLARGED
    part_width, part_height = share * width, share * height
    if min(part_width, part_height) < LEAST_SIDE:
        return Dropped(Reason.TOO_SMALL, "a part of less than a few pixels")
    left = round(float(np.clip((x0 + x1 - part_width) / 2, 0, width - part_width)))
    top = round(float(np.clip((y0 + y1 - part_height) / 2, 0, height - part_height)))
    part = image[top : top + max(1, int(part_height)), left : left + max(1, int(part_width))]
    shown: RgbImage = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
    return shown, {"part": [left, top, left + part.shape[1], top + part.shape[0]]}
