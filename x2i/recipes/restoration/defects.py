"""Pixel defects that software makes: moire, pixelation, few colors, too much sharpening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, draw, one_of, scale_of, to_uint8
from x2i.recipes.restoration.kernels import gaussian_blur


@dataclass(frozen=True)
class RemoveMoire(Restoration):
    """Bands as on a photographed screen: two bent gratings that multiply the channels, each channel a little later.

    The model and its ranges are ours: a grating is the beat between the screen's grid and the sensor's.
    """

    name = "remove_moire"
    title = "Photograph with a moire pattern to clean photograph"
    operation = "removing the moire"
    damage_noun = "moire"
    no_damage = {"strength": (0.0, 0.0)}

    strength: Annotated[Range, Option("Amplitude of the bands as a share of the values.", ge=0, le=1)] = (0.12, 0.35)
    frequency: Annotated[Range, Option("Bands across the shorter side.", gt=0, le=200)] = (10.0, 45.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        import cv2

        strength = draw(self.strength, random)
        height, width = source.pixels.shape[:2]
        side = min(height, width)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) / side
        bands = np.zeros((height, width, 3), np.float32)
        drawn = []
        for _ in range(2):
            frequency, degrees, bend = (
                draw(self.frequency, random),
                draw((0, 180), random, 2),
                draw((-0.3, 0.3), random),
            )
            along = x * np.cos(np.deg2rad(degrees)) + y * np.sin(np.deg2rad(degrees))
            phase = 2 * np.pi * frequency * (along + np.float32(bend) * (y * y + x * along))
            delay = draw((0.5, 2.0), random)
            cosine, sine = cv2.polarToCart(None, phase)
            for channel in range(3):
                bands[..., channel] += sine * np.float32(np.cos(channel * delay) / 2)
                bands[..., channel] += cosine * np.float32(np.sin(channel * delay) / 2)
            drawn.append({"frequency": frequency, "angle_degrees": degrees, "bend": bend, "delay": delay})
        pixels = to_uint8(source.pixels * (1 + np.float32(strength) * bands))
        return Damaged(pixels, {"strength": strength, "gratings": drawn})


@dataclass(frozen=True)
class RemovePixelation(Restoration):
    """Blocks of one color: reduced by area and enlarged by repetition; VisualCloze reduces to .5 down to .2."""

    name = "remove_pixelation"
    title = "Pixelated photograph to photograph of full resolution"
    operation = "undoing the pixelation"
    damage_noun = "pixelation"
    no_damage = {"factor": (1.0, 1.0)}

    factor: Annotated[Range, Option("Size of the reduced picture over that of the picture.", gt=0, le=1)] = (0.2, 0.5)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        import cv2

        factor = draw(self.factor, random)
        height, width = source.pixels.shape[:2]
        small = max(1, round(width * factor)), max(1, round(height * factor))
        reduced = cv2.resize(source.pixels, small, interpolation=cv2.INTER_AREA)
        return Damaged(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_NEAREST), {"factor": factor})


@dataclass(frozen=True)
class RemoveColorBanding(Restoration):
    """Few colors: a palette by median cut, 20 to 3 colors, or levels of equal share in each channel, down to 4.

    Both are VisualCloze's; it begins with 24 levels, of which more than 12 hardly show.
    """

    name = "remove_color_banding"
    version = 2
    title = "Photograph of few colors to photograph of all colors"
    operation = "restoring the lost colors"
    damage_noun = "color banding"

    kinds: Annotated[tuple[Literal["palette", "levels"], ...], Option("palette, levels; with equal chance.")] = (
        "palette",
        "levels",
    )
    colors: Annotated[tuple[int, int], Option("palette: number of colors.", ge=2, le=256)] = (3, 20)
    levels: Annotated[tuple[int, int], Option("levels: number in each channel.", ge=2, le=256)] = (4, 12)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        kind = one_of(self.kinds, random)
        low, high = self.colors if kind == "palette" else self.levels
        count = int(random.integers(low, high + 1))
        pixels = few_colors(source.pixels, count) if kind == "palette" else equal_levels(source.pixels, count)
        return Damaged(pixels, {"kind": kind, "count": count})


@dataclass(frozen=True)
class RemoveOversharpening(Restoration):
    """An unsharp mask far too strong: x + a (x - blurred x); amounts of VisualCloze, 2 to 8."""

    name = "remove_oversharpening"
    title = "Oversharpened photograph to natural photograph"
    operation = "undoing the oversharpening"
    damage_noun = "oversharpening"
    no_damage = {"amount": (0.0, 0.0)}

    amount: Annotated[Range, Option("How often the difference from the blurred picture is added.", ge=0, le=20)] = (
        2.0,
        8.0,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        import cv2

        amount, sigma = draw(self.amount, random), max(0.8, 1.5 * scale_of(source.pixels))
        blurred = gaussian_blur(source.pixels, sigma)
        pixels = cv2.addWeighted(source.pixels, 1 + amount, blurred, -amount, 0)
        return Damaged(pixels, {"amount": amount, "sigma_px": round(sigma, 4)})


def few_colors(image: RgbImage, count: int) -> RgbImage:
    """Returns `image` in `count` colors, chosen by median cut among every few pixels; each pixel takes the nearest."""
    from PIL import Image

    step = max(1, min(image.shape[:2]) // 96)
    few = Image.fromarray(np.ascontiguousarray(image[::step, ::step]))
    palette = few.quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB"))


def equal_levels(image: RgbImage, count: int) -> RgbImage:
    """Returns `image` with `count` values in each channel, each standing for an equal share of its pixels."""
    from x2i.recipes.restoration.light import apply_curve

    curves = np.zeros((256, 3))
    for channel in range(3):
        histogram = np.bincount(image[..., channel].ravel(), minlength=256)
        below = np.cumsum(histogram) - histogram / 2
        group = np.minimum((below * count / histogram.sum()).astype(int), count - 1)
        weights = np.bincount(group, histogram, count)
        means = np.bincount(group, histogram * np.arange(256), count) / np.maximum(weights, 1)
        curves[:, channel] = means[group]
    return apply_curve(image, curves)
