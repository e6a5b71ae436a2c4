"""What a recipe is: how images and what is known about them become the samples of one task.

A recipe has two halves. Its SQL half (`needs`, `requires`, `joins`, `candidates`) says which images could become
samples; it runs once, when a stage is planned. Its pixel half (`render`) makes one sample; it is a pure function of its
arguments. To add a recipe: one file here with a subclass, one line in `RECIPES`, one pool in x2i/instructions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.reasons import Dropped, Reason
from x2i.recipes.phrasings import choose
from x2i.sample import placeholder

RgbImage = NDArray[np.uint8]
INVISIBLE_PSNR = 36.0

IMAGE_CANDIDATES = "SELECT [images.key] AS keys, '' AS suffix, '{}' AS facts FROM images"
CAPTIONED_CANDIDATES = """
    SELECT [images.key] AS keys, '' AS suffix, json_object('caption', captions.caption) AS facts
    FROM images LEFT JOIN captions ON captions.key = images.key
"""


@dataclass(frozen=True)
class Picture:
    """One image of a sample: uint8 RGB pixels_HWC. lossless: stored as PNG (maps and masks), else as JPEG."""

    pixels: RgbImage
    lossless: bool = False


@dataclass(frozen=True)
class Rendered:
    """One sample before encoding. parameters: what was drawn, as JSON values. scores: what was measured."""

    instruction: str
    inputs: tuple[Picture, ...]
    output: Picture
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """One input picture and the output that belongs to it, without words. slots: texts for the instruction."""

    input: Picture
    output: Picture
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    slots: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A sample that could be made: from which images (keys, in the order `render` takes them) and which facts."""

    keys: tuple[str, ...]
    suffix: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Recipe(ABC):
    """Makes the samples of one task.

    name: also the name of the stage and of the sample keys. version: raised when the same arguments would give another
    sample; it is part of every random draw. num_inputs: input images of every sample.
    needs: columns and relations without which there is nothing to make. wants: used if they exist.
    requires: named predicates that every candidate must fulfil; the report counts who fails which.
    rows: views of several rows per image whose row a candidate is about; joins: how that row is joined to `candidate`.
    bytes_per_pixel: expected size of a sample's files divided by the pixels of its source images; for sizing shards.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    task: ClassVar[str]
    num_inputs: ClassVar[int]
    needs: ClassVar[tuple[str, ...]] = ()
    wants: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[Mapping[str, str]] = {}
    rows: ClassVar[tuple[str, ...]] = ()
    joins: ClassVar[str] = ""
    bytes_per_pixel: ClassVar[float] = 0.5

    def candidates(self, views: frozenset[str]) -> str:
        """Returns a SELECT with the columns keys VARCHAR[], suffix VARCHAR, facts JSON and those that `joins` uses.

        views: which of `needs` and `wants` exist. The view `images` always does; it holds stored images only.
        """
        return IMAGE_CANDIDATES

    def arrange(self, selected: Sequence[Candidate]) -> list[Candidate | Dropped]:
        """Takes the selected candidates in the order of their keys; a recipe that combines images overrides it."""
        return list(selected)

    @abstractmethod
    def render(
        self, key: str, images: Sequence[RgbImage], facts: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        """Makes one sample, or says why these images are not fit for it.

        key: the sample's key, which chooses the phrasing. images: uint8 RGB (height, width, 3), one per candidate key,
        not to be written to. facts: what `candidates` selected. random: the only source of chance.
        """


class OneInputRecipe(Recipe):
    """A recipe from one photograph to an (input, output) pair: conditions, annotations, restorations."""

    num_inputs = 1
    operation: ClassVar[str]  # what is done to the input, as a noun: "removing the blur"

    @abstractmethod
    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        """Makes the pair. Draws depend on the image's size by proportion only, so one seed means one operation."""

    def render(
        self, key: str, images: Sequence[RgbImage], facts: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        pair = self.pair(images[0], facts, random)
        if isinstance(pair, Dropped):
            return pair
        instruction = choose(self.task, key, image=placeholder(1), **pair.slots)
        return Rendered(instruction, (pair.input,), pair.output, pair.parameters, pair.scores)


def restoration(
    damaged: RgbImage, image: RgbImage, parameters: Mapping[str, Any], **slots: str | None
) -> Pair | Dropped:
    """Returns the pair (damaged, image) with its PSNR; a verdict if the damage does not show (INVISIBLE_PSNR)."""
    decibels = psnr(damaged, image)
    if decibels > INVISIBLE_PSNR:
        return Dropped(Reason.UNSUITABLE_IMAGE, f"the damage does not show ({decibels:.1f} dB)")
    return Pair(Picture(damaged), Picture(image), parameters, {"input_psnr": round(decibels, 3)}, slots)


def psnr(a: RgbImage, b: RgbImage) -> float:
    """Returns the peak signal-to-noise ratio of two images of one shape, in dB; 99 for equal ones."""
    error = float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2))
    return min(99.0, float(10 * np.log10(255**2 / error))) if error else 99.0


def no_caption(facts: Mapping[str, Any]) -> Dropped:
    """The verdict on a caption that is empty once marker tokens are taken out."""
    return Dropped(Reason.NO_CAPTION, f"nothing is left of {facts['caption']!r}")
