"""The conditions family: a map of a photograph (edges, depth) in and the photograph out, and the other way round.

A condition is a class that says how the map is had; its two directions derive from it and from `MapToImage` or
`ImageToMap`. A map that a column holds takes a class of three lines (see `Depth`), two directions and two rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, ImageMap, PairRecipe, Rendered, RgbImage, Source, Table, captioned
from x2i.recipes.maps import to_rgb8
from x2i.recipes.phrasings.nouns import condition_slots
from x2i.recipes.phrasings.wording import caption_slots, clean


@dataclass(frozen=True)
class Drawn:
    """A map as an image, uint8 RGB (height, width, 3), of the photograph's size; the rest as in `Rendered`."""

    pixels: RgbImage
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition(PairRecipe):
    """A kind of map. noun: what it is called in the phrasings, "depth map"."""

    family = "conditions"
    mirrorable = True
    computer_vision = True
    bytes_per_pixel = 0.6
    noun: ClassVar[str]

    @abstractmethod
    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        """Returns the map of `source`, or says why it is of no use. metadata: as in `make`."""


@dataclass(frozen=True)
class MapToImage(Condition):
    """The map is the input, stored without loss; the caption of the photograph, if it has one, is part of the words."""

    phrasings = "map_to_image"
    lossless = ("input_1",)

    captions: Annotated[str, Option("Column of the captions.")] = "captions"

    def reads(self) -> tuple[Table, ...]:
        return (*super().reads(), Table(self.captions, optional=True))

    def query(self, tables: frozenset[str]) -> str:
        return captioned(super().query(tables), self.captions, tables)

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        drawn = self.draw(source, metadata, random)
        if isinstance(drawn, Dropped):
            return drawn
        slots = {**condition_slots(self.noun), **caption_slots(metadata.get("caption"))}
        return Rendered((drawn.pixels,), source.pixels, slots, drawn.parameters, drawn.scores)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        example = super().example(photographs)
        return Example(example.sources, {**example.metadata, "caption": "A thing in a place."})


@dataclass(frozen=True)
class ImageToMap(Condition):
    """The map is the output, stored without loss."""

    phrasings = "image_to_map"
    lossless = ("output",)

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        drawn = self.draw(source, metadata, random)
        if isinstance(drawn, Dropped):
            return drawn
        return Rendered((source.pixels,), drawn.pixels, self.slots(), drawn.parameters, drawn.scores)

    def slots(self) -> Mapping[str, str | None]:
        """Returns the slots of the phrasings."""
        return condition_slots(self.noun)


@dataclass(frozen=True)
class Canny(Condition):
    """Canny edges, white on black, with a random spread of the hysteresis thresholds."""

    noun = "canny edge map"

    spread: Annotated[
        tuple[float, float], Option("The thresholds are (1 - s) and (1 + s) times the median luma.", ge=0, lt=1)
    ] = (0.15, 0.5)
    density: Annotated[
        tuple[float, float], Option("Share of edge pixels; maps with fewer or more are dropped.", ge=0, le=1)
    ] = (0.005, 0.35)

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        from x2i.models.classic.canny import Canny as CannyDetector

        spread = round(float(random.uniform(*self.spread)), 3)
        edges_HW = CannyDetector(spread).edges([source.pixels])[0]
        density = float(np.mean(edges_HW > 0))
        if not self.density[0] <= density <= self.density[1]:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"edges cover {density:.2%} of the picture")
        edges_HWC = np.repeat(edges_HW[..., None], 3, axis=2)
        parameters = {"detector": "classic:canny", "spread": spread}
        return Drawn(edges_HWC, parameters, {"edge_density": round(density, 5)})


@dataclass(frozen=True)
class StoredMap(Condition):
    """A map that a column holds; `draw` shows it in 8 bits a channel and records what its row says about it."""

    exact: ClassVar[bool] = False  # its values are labels or vectors, which must not be mixed

    column: Annotated[str, Option("Column of the maps.")] = ""

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.column, images=True),)

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        stored = source.maps[self.column]
        pixels = to_rgb8(stored.values, *source.pixels.shape[:2], exact=self.exact)
        full = int(np.iinfo(stored.values.dtype).max)
        found = [round(int(value) / full, 5) for value in (stored.values.min(), stored.values.max())]
        return Drawn(pixels, {"column": self.column, "range": found, **stored.fields})

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        example = super().example(photographs)
        height, width = photographs[0].shape[:2]
        ramp_HW = np.linspace(0, 65535, height * width).reshape(height, width).astype(np.uint16)
        maps = {self.column: ImageMap(ramp_HW, {"model": "example"})}
        return Example((Source(photographs[0], maps),), example.metadata)


@dataclass(frozen=True)
class FoundObjects(Condition):
    """A map of the objects that were found in a photograph.

    selected, where: the fields of their rows that `draw` gets as `metadata["objects"]`, and which rows, in SQL.
    """

    shown_by_example = False  # which objects count is up to the detector
    bytes_per_pixel = 0.5
    selected: ClassVar[str]
    where: ClassVar[str]

    entities: Annotated[str, Option("Column of found entities.")] = "entities"
    most: Annotated[int, Option("Pictures with more objects are dropped.", ge=1)] = 12

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities),)

    def query(self, tables: frozenset[str]) -> str:
        return f"""
            SELECT [images.key] AS keys, images.width AS width, images.height AS height, found.objects
            FROM images JOIN (
                SELECT key, list(struct_pack(label := label, {self.selected}) ORDER BY entity) AS objects
                FROM "{self.entities}" WHERE {self.where} GROUP BY key
            ) AS found ON found.key = images.key
        """

    def objects(self, metadata: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | Dropped:
        """Returns the rows of the objects with clean labels; Dropped if there is none, or too many."""
        found = metadata["objects"] or []
        if not 1 <= len(found) <= self.most:
            return Dropped(Reason.NO_ENTITY, f"{len(found)} objects")
        return [{**entry, "label": clean(entry["label"] or "") or "object"} for entry in found]


@dataclass(frozen=True)
class Depth(StoredMap):
    """Depth as gray, near is bright; `range` in the parameters is that of the stored map, 0 (far) to 1 (near)."""

    noun = "depth map"

    column: Annotated[str, Option("Column of the depth maps, near is bright.")] = "depth"

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        drawn = super().draw(source, metadata, random)
        if isinstance(drawn, Drawn) and np.ptp(drawn.pixels) == 0:
            return Dropped(Reason.UNSUITABLE_IMAGE, "the depth map is flat")
        return drawn


@dataclass(frozen=True)
class CannyToImage(MapToImage, Canny):
    name = "canny_to_image"
    title = "Canny edges and caption to photograph"
    operation = "turning an edge map into a photo"


@dataclass(frozen=True)
class ImageToCanny(ImageToMap, Canny):
    name = "image_to_canny"
    title = "Photograph to Canny edges"
    operation = "detecting edges"


@dataclass(frozen=True)
class DepthToImage(MapToImage, Depth):
    name = "depth_to_image"
    title = "Depth map and caption to photograph"
    operation = "turning a depth map into a photo"


@dataclass(frozen=True)
class ImageToDepth(ImageToMap, Depth):
    name = "image_to_depth"
    title = "Photograph to depth map"
    operation = "estimating depth"
