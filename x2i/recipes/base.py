"""What a recipe is: a query for its candidates, and a pure function from their images to a sample.

A recipe is a frozen dataclass whose fields are its options. `reads`, `query` and `requires` say which samples could be
made; they are asked once, when a stage is planned. `make` makes one sample and depends on its arguments alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.options import as_config
from x2i.reasons import Dropped
from x2i.recipes.phrasings import choose, read_pool
from x2i.sample import placeholder

if TYPE_CHECKING:
    import pyarrow as pa

RgbImage = NDArray[np.uint8]


@dataclass(frozen=True)
class Table:
    """A column or relation that a recipe reads.

    optional: the recipe works without it. images: `make` gets the encoded images that the column holds, decoded; an
    image without a row in such a column is no candidate.
    """

    name: str
    optional: bool = False
    images: bool = False


@dataclass(frozen=True)
class ImageMap:
    """An image that a column holds about a photograph, such as a depth map, in a size of its own.

    values: uint8 or uint16, (height, width) or RGB (height, width, 3). fields: the other fields of its row.
    """

    values: NDArray[np.uint8] | NDArray[np.uint16]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """One image of a candidate. pixels: uint8 RGB (height, width, 3), read-only. maps: column -> what it holds."""

    pixels: RgbImage
    maps: Mapping[str, ImageMap] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """One sample before encoding: its images, uint8 RGB (height, width, 3), and what is known about it.

    slots: texts for the phrasing; None says that this sample has no such text.
    parameters: what was drawn at random, as JSON values. scores: what was measured.
    mirrorable: False where this sample must not be mirrored although its recipe's samples may be.
    """

    inputs: tuple[RgbImage, ...]
    output: RgbImage
    slots: Mapping[str, str | None] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    mirrorable: bool = True


@dataclass(frozen=True)
class Example:
    """Arguments with which `make` makes a sample, for the conformance tests and the documentation."""

    sources: tuple[Source, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe(ABC):
    """Makes the samples of one task.

    name: of the recipe and its task; it begins the keys of its samples. title: one line for people.
    family: which recipes it resembles; costs are estimated by family. version: raised when the same arguments would
    give another sample; it is part of every random draw.
    image_slots: the slots of the phrasings for the input images, in order, one for each input.
    lossless: which images are stored as PNG, "input_1" and so on or "output"; the others are JPEG.
    mirrorable: a sample means the same with all its images mirrored. computer_vision: `x2i cvtasks` makes it.
    phrasings: a pool as data, or the name of its file; see x2i.recipes.phrasings for where it is found otherwise.
    bytes_per_pixel: expected size of a sample's files divided by the pixels of its source images; for sizing shards.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    family: ClassVar[str]
    version: ClassVar[int] = 1
    image_slots: ClassVar[tuple[str, ...]] = ("image",)
    lossless: ClassVar[tuple[str, ...]] = ()
    mirrorable: ClassVar[bool] = False
    computer_vision: ClassVar[bool] = False
    phrasings: ClassVar[Mapping[str, Any] | str | None] = None
    bytes_per_pixel: ClassVar[float] = 0.5

    @property
    def num_inputs(self) -> int:
        return len(self.image_slots)

    def config(self) -> Mapping[str, Any]:
        """Returns what decides the samples beside `version` and the phrasings, as JSON values: the options."""
        return as_config(self)

    def reads(self) -> tuple[Table, ...]:
        """Returns the columns and relations it reads beside the image store."""
        return ()

    def query(self, tables: frozenset[str]) -> str:
        """Returns a SELECT over the views `images` (stored images) and `tables` (those of `reads` that exist).

        Its columns: keys VARCHAR[] (the source images, in the order of `make`'s `sources`), suffix VARCHAR (where the
        same images give several samples; may be left out), and any others, which become `make`'s `metadata`.
        """
        return "SELECT [key] AS keys FROM images"

    def requires(self) -> Mapping[str, str]:
        """Returns predicates by name on `candidate`, the row of `query`; the report counts who fails which.

        They are asked before those of the user, who may name `candidate` as well. A row in each column with images
        that is not optional is required in any case.
        """
        maps = [table.name for table in self.reads() if table.images and not table.optional]
        return {f"{name}_is_known": f'"{name}".key IS NOT NULL' for name in maps}

    def combine(self, selected: pa.Table) -> tuple[pa.Table, Mapping[str, int]]:
        """Returns the candidates to make of the `selected` rows of `query`, and how many were left out, by name.

        A column `sample_name` names the samples in place of the keys of their images and the suffix.
        """
        return selected, {}

    @abstractmethod
    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        """Makes one sample, or says why these images are not fit for it.

        sources: one per candidate key. metadata: what `query` selected. random: the only source of chance, seeded by
        the sample's key and the recipe's name and version.
        """

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        """Returns arguments of `make`. photographs: at least two, of different content."""
        return Example((Source(photographs[0]),))

    def instruction(self, key: str, rendered: Rendered) -> str:
        """Returns the words of sample `key`: a phrasing chosen by the hash of the key, with its slots filled."""
        images = {name: placeholder(number) for number, name in enumerate(self.image_slots, start=1)}
        return choose(read_pool(type(self)), key, **images, **rendered.slots)


@dataclass(frozen=True)
class PairRecipe(Recipe):
    """A recipe from one photograph to one input and the output that belongs to it; `few_shot` can show it by example.

    operation: what is done to the input, as a noun: "removing the blur".
    shown_by_example: an example pair and the query are enough to know what is wanted.
    """

    operation: ClassVar[str]
    shown_by_example: ClassVar[bool] = True

    @abstractmethod
    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        """Makes the pair. Draws depend on the image's size by proportion only, so one seed means one operation."""

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        return self.pair(sources[0], metadata, random)


def captioned(query: str, captions: str, tables: frozenset[str]) -> str:
    """Returns `query` with the caption of each row's first image: NULL where it has none, or without the column."""
    if captions not in tables:
        return f"SELECT *, NULL::VARCHAR AS caption FROM ({query})"
    return f"""
        SELECT candidates.*, words.caption AS caption FROM ({query}) AS candidates
        LEFT JOIN "{captions}" AS words ON words.key = candidates.keys[1]
    """
