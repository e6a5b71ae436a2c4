"""The layouts family: where colors are, without detail: palette, color layout, low resolution, blur."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Source
from x2i.recipes.conditions import Condition, Drawn, ImageToMap, MapToImage


@dataclass(frozen=True)
class Layout(Condition):
    """A coarse picture of the same size."""

    family = "layouts"


@dataclass(frozen=True)
class Palette(Layout):
    """The picture in 8x8 tiles (T2I-Adapter); the colors are listed row by row, so that a target can be read back."""

    noun = "color palette"

    tiles: Annotated[int, Option("Tiles along each side.", ge=1, le=64)] = 8

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        height, width = source.pixels.shape[:2]
        small = cv2.resize(source.pixels, (self.tiles, self.tiles), interpolation=cv2.INTER_AREA)
        colors = ["#" + "".join(f"{value:02x}" for value in color) for color in small.reshape(-1, 3).tolist()]
        pixels = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
        return Drawn(pixels, {"tiles": self.tiles, "colors": colors})


@dataclass(frozen=True)
class ColorLayout(Layout):
    """Square tiles with a side of 64 px at 512, as the webui's `color`, in their mean colors.

    The webui takes each color from a few pixels in the middle of the tile (bicubic), which is often not the tile's.
    """

    noun = "color layout"

    tile: Annotated[float, Option("Side of a tile in pixels at a longer side of 512.", ge=2, le=256)] = 64.0

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        height, width = source.pixels.shape[:2]
        side = self.tile * max(height, width) / 512
        size = max(1, round(width / side)), max(1, round(height / side))
        small = cv2.resize(source.pixels, size, interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
        return Drawn(pixels, {"columns": size[0], "rows": size[1]})


@dataclass(frozen=True)
class LowResolution(Layout):
    """The picture at a fraction of its resolution (ControlNet's tile): area down, bilinear up."""

    noun = "low-resolution image"

    factors: Annotated[tuple[int, ...], Option("Factors of reduction, with equal chance.", ge=2, le=64)] = (8, 16)

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        height, width = source.pixels.shape[:2]
        factor = self.factors[int(random.integers(len(self.factors)))]
        size = max(1, round(width / factor)), max(1, round(height / factor))
        small = cv2.resize(source.pixels, size, interpolation=cv2.INTER_AREA)
        return Drawn(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), {"factor": factor})


@dataclass(frozen=True)
class Blurred(Layout):
    """The picture after a Gaussian so wide that only masses of color are left; annotators' default is 9 px at 512."""

    noun = "blurred image"

    sigma: Annotated[tuple[float, float], Option("Standard deviation in pixels at a longer side of 512.", ge=1)] = (
        9.0,
        24.0,
    )

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        import cv2

        sigma = round(float(random.uniform(*self.sigma)) * max(source.pixels.shape[:2]) / 512, 3)
        return Drawn(cv2.GaussianBlur(source.pixels, (0, 0), sigma), {"sigma_px": sigma})


@dataclass(frozen=True)
class PaletteToImage(MapToImage, Palette):
    name = "palette_to_image"
    title = "Palette of 8x8 colors and caption to photograph"
    operation = "turning a color palette into a photo"


@dataclass(frozen=True)
class ImageToPalette(ImageToMap, Palette):
    name = "image_to_palette"
    title = "Photograph to palette of 8x8 colors"
    operation = "reducing the photo to its palette"


@dataclass(frozen=True)
class ColorLayoutToImage(MapToImage, ColorLayout):
    name = "color_layout_to_image"
    title = "Color layout and caption to photograph"
    operation = "turning a color layout into a photo"


@dataclass(frozen=True)
class ImageToColorLayout(ImageToMap, ColorLayout):
    name = "image_to_color_layout"
    title = "Photograph to color layout"
    operation = "reducing the photo to its color layout"


@dataclass(frozen=True)
class LowResolutionToImage(MapToImage, LowResolution):
    name = "low_resolution_to_image"
    title = "Picture of very low resolution and caption to photograph"
    operation = "drawing a photo from very few pixels"


@dataclass(frozen=True)
class BlurToImage(MapToImage, Blurred):
    name = "blur_to_image"
    title = "Masses of color and caption to photograph"
    operation = "drawing a photo from blurred colors"


@dataclass(frozen=True)
class ImageToLowResolution(ImageToMap, LowResolution):
    name = "image_to_low_resolution"
    title = "Photograph to a picture of very low resolution"
    operation = "reducing the photo to a few pixels"


@dataclass(frozen=True)
class ImageToBlur(ImageToMap, Blurred):
    name = "image_to_blur"
    title = "Photograph to masses of color"
    operation = "blurring the photo"
