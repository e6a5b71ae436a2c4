"""restore_old_photo: an aged print in, the photograph out.

Blur, noise, loss of resolution and JPEG in random order, each with chance .7, as in "Bringing Old Photos Back to Life"
with its ranges; then fading and sepia, scratches, dust and torn places in white.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.masks import strokes
from x2i.recipes.restoration.base import Damaged, Range, Restoration, draw, scale_of, to_uint8
from x2i.recipes.restoration.denoise import gaussian, jpeg, salt_and_pepper

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], np.float32)


@dataclass(frozen=True)
class RestoreOldPhoto(Restoration):
    """The tone is gray, sepia or faded color. The ranges of fading, scratches and dust are ours."""

    name = "restore_old_photo"
    title = "Old, damaged print to fresh photograph"
    operation = "restoring an old photo"
    bytes_per_pixel = 1.0

    chance: Annotated[float, Option("Of each of blur, noise, loss of resolution and JPEG.", ge=0, le=1)] = 0.7
    colorless: Annotated[float, Option("Chance that the print is gray or sepia.", ge=0, le=1)] = 0.5
    fading: Annotated[Range, Option("Share of the contrast that is lost.", ge=0, le=1)] = (0.15, 0.5)
    scratches: Annotated[tuple[int, int], Option("Number of scratches.", ge=0, le=100)] = (3, 14)
    dust: Annotated[Range, Option("Share of the pixels where a speck of dust is.", ge=0, le=0.01)] = (0.0002, 0.001)
    torn: Annotated[float, Option("Chance of torn places, painted white.", ge=0, le=1)] = 0.3

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        steps: tuple[Callable[[RgbImage, np.random.Generator], tuple[RgbImage, str]], ...] = (
            _blur,
            _noise,
            _resolution,
            _jpeg,
        )
        pixels, taken = source.pixels, []
        for number in random.permutation(len(steps)):
            if random.random() < self.chance:
                pixels, note = steps[int(number)](pixels, random)
                taken.append(note)
        fading, tone = draw(self.fading, random), "faded"
        if random.random() < self.colorless:
            tone = "sepia" if random.random() < 0.6 else "gray"
        pixels = aged(pixels, tone, fading)
        count, dust = int(random.integers(self.scratches[0], self.scratches[1] + 1)), draw(self.dust, random, 6)
        marks = scratches(pixels.shape[:2], count, random)
        marks = np.maximum(marks, specks(pixels, dust, random))
        torn = bool(random.random() < self.torn)
        if torn:
            marks = np.maximum(marks, strokes(pixels.shape[0], pixels.shape[1], random).astype(np.float32))
        paper = np.float32(245)
        pixels = to_uint8(pixels + marks[..., None] * (paper - pixels))
        parameters = {"steps": taken, "tone": tone, "fading": fading, "scratches": count, "dust": dust, "torn": torn}
        return Damaged(pixels, parameters)


def aged(image: RgbImage, tone: str, fading: float) -> RgbImage:
    """Returns `image` in `tone` (faded, sepia, gray), its blacks lifted and its whites lowered by `fading`."""
    import cv2

    matrix = {"sepia": SEPIA / 1.2, "gray": np.tile(np.array([0.299, 0.587, 0.114], np.float32), (3, 1))}
    faded = 0.6 * np.eye(3, dtype=np.float32) + 0.4 / 3
    toned = cv2.transform(image.astype(np.float32), matrix.get(tone, faded))
    paper = np.array([235, 220, 190] if tone != "gray" else [215, 215, 215], np.float32)
    return to_uint8(toned * np.float32(1 - fading) + paper * np.float32(fading * 0.7))


def scratches(shape: tuple[int, ...], count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Returns a map_HW, 0 to 1, of `count` thin bright lines, most of them steep and long."""
    import cv2

    height, width = shape
    canvas = np.zeros((height, width), np.uint8)
    for _ in range(count):
        length, turn = random.uniform(0.1, 1.0) * height, random.normal(0, 0.25)
        along = np.linspace(0, 1, 12)
        wobble = np.cumsum(random.normal(0, 0.004 * width, 12))
        x = random.uniform(0, width) + along * length * np.sin(turn) + wobble
        y = random.uniform(-0.2, 1.0) * height + along * length * np.cos(turn)
        points = np.rint(np.stack([x, y], 1) * 8).astype(np.int32).reshape(-1, 1, 2)
        shade, thickness = int(random.integers(120, 256)), int(random.integers(1, 2 + max(1, round(min(shape) / 300))))
        cv2.polylines(canvas, [points], False, shade, thickness, cv2.LINE_AA, 3)
    return canvas.astype(np.float32) / np.float32(255)


def specks(image: RgbImage, share: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Returns a map_HW, 0 to 1, of dust: a `share` of the pixels, each grown to a speck."""
    import cv2

    points = (random.random(image.shape[:2], np.float32) < share).astype(np.float32)
    size = max(1, round(1.5 * scale_of(image)))
    grown = cv2.dilate(points, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, size + 1)))
    return cv2.GaussianBlur(0.85 * grown, (0, 0), 0.6)


def _blur(image: RgbImage, random: np.random.Generator) -> tuple[RgbImage, str]:
    import cv2

    size, sigma = 3 + 2 * int(random.integers(3)), draw((1.0, 5.0), random)
    return cv2.GaussianBlur(image, (size, size), sigma), f"blur {size} px, sigma {sigma:g}"


def _noise(image: RgbImage, random: np.random.Generator) -> tuple[RgbImage, str]:
    kind, level = int(random.integers(3)), draw((5.0, 50.0), random)
    if kind == 0:
        return gaussian(image, level, False, random), f"gaussian {level:g}"
    if kind == 1:
        noise = random.standard_normal(image.shape, np.float32) * np.float32(level / 255)
        return to_uint8(image * (1 + noise)), f"speckle {level:g}"
    amount = draw((0.001, 0.01), random)
    return salt_and_pepper(image, amount, random), f"salt and pepper {amount:g}"


def _resolution(image: RgbImage, random: np.random.Generator) -> tuple[RgbImage, str]:
    import cv2

    height, width = image.shape[:2]
    method = (cv2.INTER_NEAREST, cv2.INTER_LINEAR)[int(random.integers(2))]
    small = tuple(max(8, round(side * random.uniform(0.5, 1))) for side in (width, height))
    reduced = cv2.resize(image, small, interpolation=method)
    return cv2.resize(reduced, (width, height), interpolation=method), f"resolution {small[0]}x{small[1]}"


def _jpeg(image: RgbImage, random: np.random.Generator) -> tuple[RgbImage, str]:
    quality = int(random.integers(40, 101))
    return jpeg(image, quality), f"jpeg {quality}"
