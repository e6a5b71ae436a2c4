"""What the restoration recipes share: the photograph is the output, and damage that does not show is dropped."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import PairRecipe, Rendered, RgbImage, Source

Range = tuple[float, float]

REFERENCE_SIDE = 384
"""Strengths in pixels hold for pictures whose shorter side is so long, and grow with it."""


@dataclass(frozen=True)
class Damaged:
    """A damaged copy of a photograph, uint8 RGB (height, width, 3); the rest as in `Rendered`."""

    pixels: RgbImage
    parameters: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, str | None] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Restoration(PairRecipe):
    """A recipe that damages a photograph and asks for the photograph back.

    damage_noun: what the damage is called in the family's phrasings, "rain" or "JPEG artifacts"; None for a recipe
    whose `damage` fills the slot `damage` itself, or that does without these phrasings (`family: false`).
    no_damage: options with which `damage` returns the photograph unchanged; None where no strength is zero.
    """

    family = "restoration"
    mirrorable = True
    computer_vision = True
    phrasings = "restoration"
    bytes_per_pixel = 0.8
    damage_noun: ClassVar[str | None] = None
    no_damage: ClassVar[Mapping[str, Any] | None] = None

    max_psnr: Annotated[
        float, Option("Samples are dropped whose damage shows less: input and output closer than this, in dB.", gt=0)
    ] = 36.0

    @abstractmethod
    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged | Dropped:
        """Returns a damaged copy of `source.pixels` of the same size, or says why this photograph is not fit."""

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        damaged = self.damage(source, metadata, random)
        if isinstance(damaged, Dropped):
            return damaged
        decibels = psnr(damaged.pixels, source.pixels)
        if decibels > self.max_psnr:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the damage does not show ({decibels:.1f} dB)")
        noun = {"damage": self.damage_noun} if self.damage_noun else {}
        scores = {"input_psnr": round(decibels, 3), **damaged.scores}
        return Rendered((damaged.pixels,), source.pixels, {**noun, **damaged.slots}, damaged.parameters, scores)


def psnr(a: RgbImage, b: RgbImage) -> float:
    """Returns the peak signal-to-noise ratio of two images of one shape, in dB; 99 for equal ones."""
    error = float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2))
    return min(99.0, float(10 * np.log10(255**2 / error))) if error else 99.0


def scale_of(image: RgbImage) -> float:
    """Returns how many pixels of `image` a strength of one pixel is."""
    return min(image.shape[:2]) / REFERENCE_SIDE


def draw(bounds: Range, random: np.random.Generator, digits: int = 4) -> float:
    """Returns a number drawn evenly between `bounds`, rounded as it is recorded."""
    return round(float(random.uniform(*bounds)), digits)


def draw_log(bounds: Range, random: np.random.Generator, digits: int = 4) -> float:
    """Returns a number between two positive `bounds` whose logarithm is drawn evenly, rounded as it is recorded."""
    return round(float(np.exp(random.uniform(*np.log(bounds)))), digits)


def at_severity(table: Sequence[tuple[float, ...]], severity: float) -> tuple[float, ...]:
    """Returns the row of `table` at `severity`, 1 for the first row, mixed between rows; below 1 it fades to zeros."""
    rows = np.vstack([np.zeros(len(table[0])), np.array(table, float)])
    return tuple(round(float(np.interp(severity, np.arange(len(rows)), column)), 4) for column in rows.T)


def one_of(names: tuple[str, ...], random: np.random.Generator) -> str:
    """Returns one of `names`, each with the same chance."""
    return names[int(random.integers(len(names)))]


def to_uint8(values: np.ndarray) -> RgbImage:
    """Returns float values in gray levels as uint8, rounded and clipped to 0..255."""
    import cv2

    saturated = cv2.add(np.ascontiguousarray(values), 0.0, dtype=cv2.CV_8U)  # rounds and clips in one pass
    return saturated.reshape(values.shape)


def strongest_channel(image: RgbImage) -> NDArray[np.uint8]:
    """Returns the largest of the three values of each pixel_HW."""
    import cv2

    red, green, blue = cv2.split(image)
    return cv2.max(cv2.max(red, green), blue)


def weakest_channel(image: RgbImage) -> NDArray[np.uint8]:
    """Returns the smallest of the three values of each pixel_HW."""
    import cv2

    red, green, blue = cv2.split(image)
    return cv2.min(cv2.min(red, green), blue)
