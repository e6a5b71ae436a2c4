"""Wrong light and color: too dark, too bright, backlit, off-white, of wrong contrast or saturation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import (
    Damaged,
    Range,
    Restoration,
    draw,
    draw_log,
    one_of,
    scale_of,
    strongest_channel,
    to_uint8,
)

Change = Literal["weaken", "strengthen"]
CHANGES: tuple[Change, ...] = ("weaken", "strengthen")


@dataclass(frozen=True)
class BrightenLowLight(Restoration):
    """All light scaled down; VisualCloze has .3 to .4 and, in a second variant, .1 to .5."""

    name = "brighten_low_light"
    title = "Photograph that is too dark to well-exposed photograph"
    operation = "brightening the photo"
    phrasings = "low_light"
    no_damage = {"scale": (1.0, 1.0)}

    scale: Annotated[Range, Option("Share of the values that is left.", gt=0, le=1)] = (0.1, 0.5)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        scale = draw(self.scale, random)
        return Damaged(apply_curve(source.pixels, np.arange(256) * scale), {"scale": scale})


@dataclass(frozen=True)
class RestoreLowLight(Restoration):
    """Darkness with noise, as OneRestore makes it: light map L (guided filter, 3 px, .01), L becomes L^U(2, 3).

    The reflectance stays; noise of deviation .03 to .08 of white is added on top.
    """

    name = "restore_low_light"
    title = "Dark and noisy photograph to well-exposed photograph"
    operation = "brightening the photo"
    phrasings = "low_light"
    bytes_per_pixel = 1.2
    no_damage = {"exponent": (1.0, 1.0), "sigma": (0.0, 0.0)}

    exponent: Annotated[Range, Option("Exponent of the light map.", ge=1, le=6)] = (2.0, 3.0)
    sigma: Annotated[Range, Option("Noise: standard deviation as a share of white.", ge=0, le=0.5)] = (0.03, 0.08)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        exponent, sigma = draw(self.exponent, random), draw(self.sigma, random)
        dark = darken(source.pixels, exponent)
        noisy = dark + np.float32(255 * sigma) * random.standard_normal(dark.shape, np.float32)
        return Damaged(to_uint8(noisy), {"exponent": exponent, "sigma": sigma})


@dataclass(frozen=True)
class FixOverexposure(Restoration):
    """Gamma or added light until highlights clip; VisualCloze has gamma .8 to .3 and shifts of .1 to .35."""

    name = "fix_overexposure"
    title = "Photograph that is too bright to well-exposed photograph"
    operation = "reducing the exposure"
    damage_noun = "overexposure"
    no_damage = {"gamma": (1.0, 1.0), "shift": (0.0, 0.0)}

    gamma: Annotated[Range, Option("Exponent of the values, one of two ways to brighten.", gt=0, le=1)] = (0.3, 0.8)
    shift: Annotated[Range, Option("Added to all values, as a share of white; the other way.", ge=0, le=1)] = (
        0.1,
        0.35,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        if random.random() < 0.5:
            gamma = draw(self.gamma, random)
            return Damaged(apply_curve(source.pixels, gamma_curve(gamma)), {"kind": "gamma", "gamma": gamma})
        shift = draw(self.shift, random)
        return Damaged(apply_curve(source.pixels, np.arange(256) + 255 * shift), {"kind": "shift", "shift": shift})


@dataclass(frozen=True)
class FixBacklight(Restoration):
    """A subject in the dark before a bright background: two gammas, joined by a soft ellipse that stands on the floor.

    The gammas are VisualCloze's for dark (1.4 to 3.2) and bright (.8 to .3) pictures; the ellipse is ours.
    """

    name = "fix_backlight"
    title = "Photograph against the light to evenly lit photograph"
    operation = "fixing the backlight"
    damage_noun = "backlighting"
    no_damage = {"dark": (1.0, 1.0), "bright": (1.0, 1.0)}

    dark: Annotated[Range, Option("Exponent of the values within the ellipse.", ge=1, le=6)] = (1.4, 3.2)
    bright: Annotated[Range, Option("Exponent of the values around it.", gt=0, le=1)] = (0.3, 0.8)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        dark, bright = draw(self.dark, random), draw(self.bright, random)
        height, width = source.pixels.shape[:2]
        x, rise, wide = draw((0.35, 0.65), random), draw((0.5, 0.9), random), draw((0.2, 0.4), random)
        v, u = np.mgrid[0:height, 0:width].astype(np.float32)
        distance = np.hypot((u / width - x) / wide, (1 - v / height) / rise)
        inside = np.clip((1.2 - distance) / 0.4, 0, 1)[..., None]
        subject, around = (apply_curve(source.pixels, gamma_curve(gamma)) for gamma in (dark, bright))
        parameters = {"dark": dark, "bright": bright, "x": x, "rise": rise, "wide": wide}
        return Damaged(to_uint8(around + inside * (subject.astype(np.float32) - around)), parameters)


@dataclass(frozen=True)
class FixWhiteBalance(Restoration):
    """A color cast: gains of red and blue in linear light, opposite to each other, and a little green.

    No public pipeline gives a range for this; ours reaches from a cast that shows to that of a bulb in daylight.
    """

    name = "fix_white_balance"
    title = "Photograph with a color cast to neutral photograph"
    operation = "fixing the white balance"
    damage_noun = "discoloration"
    no_damage = {"warmth": (0.0, 0.0), "tint": (0.0, 0.0)}

    warmth: Annotated[Range, Option("Logarithm of the gain of red, or of blue, over green.", ge=0, le=2)] = (0.25, 0.7)
    tint: Annotated[Range, Option("Logarithm of the gain of green.", ge=-1, le=1)] = (-0.15, 0.15)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        warmth, tint = draw(self.warmth, random), draw(self.tint, random)
        warm = bool(random.random() < 0.5)
        gains = np.exp(np.array([warmth if warm else -warmth, tint, -warmth if warm else warmth]))
        curves = np.stack([np.arange(256) * gain ** (1 / 2.2) for gain in gains], 1)
        parameters = {"warm": warm, "gains": [round(float(gain), 4) for gain in gains]}
        return Damaged(apply_curve(source.pixels, curves), parameters)


@dataclass(frozen=True)
class FixContrast(Restoration):
    """Distances from the mean scaled; VisualCloze weakens by .75 to .2 and strengthens by 1.4 to 4."""

    name = "fix_contrast"
    phrasings = "tone"
    title = "Photograph of wrong contrast to natural photograph"
    operation = "correcting the contrast"
    no_damage = {"weaken": (1.0, 1.0), "strengthen": (1.0, 1.0)}

    changes: Annotated[tuple[Change, ...], Option("weaken, strengthen; with equal chance.")] = CHANGES
    weaken: Annotated[Range, Option("Factor of the distances from the mean.", ge=0, le=1)] = (0.2, 0.75)
    strengthen: Annotated[Range, Option("Factor of the distances, drawn by its logarithm.", ge=1, le=8)] = (1.4, 4.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        change = one_of(self.changes, random)
        factor = draw(self.weaken, random) if change == "weaken" else draw_log(self.strengthen, random)
        mean = float(source.pixels.mean())
        pixels = apply_curve(source.pixels, mean + (np.arange(256) - mean) * factor)
        words = "low contrast" if change == "weaken" else "excessive contrast"
        return Damaged(pixels, {"change": change, "factor": factor}, {"damage": words})


@dataclass(frozen=True)
class FixSaturation(Restoration):
    """Distances from gray scaled; VisualCloze weakens by .7 to 0 and strengthens by 2 to 16 (chroma of YCrCb).

    Beyond 8 nearly every color clips, so the default ends there.
    """

    name = "fix_saturation"
    phrasings = "tone"
    title = "Photograph of wrong saturation to natural photograph"
    operation = "correcting the saturation"
    no_damage = {"weaken": (1.0, 1.0), "strengthen": (1.0, 1.0)}

    changes: Annotated[tuple[Change, ...], Option("weaken, strengthen; with equal chance.")] = CHANGES
    weaken: Annotated[Range, Option("Factor of the distances from gray.", ge=0, le=1)] = (0.0, 0.7)
    strengthen: Annotated[Range, Option("Factor of the distances, drawn by its logarithm.", ge=1, le=64)] = (2.0, 8.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        import cv2

        change = one_of(self.changes, random)
        factor = draw(self.weaken, random) if change == "weaken" else draw_log(self.strengthen, random)
        to_gray = np.tile(np.array([0.299, 0.587, 0.114]), (3, 1))
        matrix = to_gray + factor * (np.eye(3) - to_gray)
        pixels = to_uint8(cv2.transform(source.pixels.astype(np.float32), matrix.astype(np.float32)))
        words = "washed-out color" if change == "weaken" else "excessive saturation"
        return Damaged(pixels, {"change": change, "factor": factor}, {"damage": words})


def apply_curve(image: RgbImage, curve: NDArray) -> RgbImage:
    """Returns `image` with each value replaced by `curve` of 256 gray levels, or (256, 3): one for each channel."""
    import cv2

    table = to_uint8(curve)
    return cv2.LUT(image, table if table.ndim == 1 else table[None])


def gamma_curve(gamma: float) -> NDArray:
    """Returns the curve of values to the power of `gamma`."""
    return 255 * (np.arange(256) / 255) ** gamma


def darken(image: RgbImage, exponent: float) -> NDArray[np.float32]:
    """Returns gray levels_HWC, not rounded, of the picture with its light map to the power of `exponent`."""
    light = guided_filter(
        strongest_channel(image).astype(np.float32) / np.float32(255), max(1, round(3 * scale_of(image))), 0.01
    )
    return image * (np.clip(light, 1e-3, 1) ** np.float32(exponent - 1))[..., None]


def guided_filter(values: NDArray[np.float32], radius: int, epsilon: float) -> NDArray[np.float32]:
    """Returns `values`_HW smoothed over windows of `radius` pixels, but not across its own edges (He et al., 2013)."""
    import cv2

    window = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(values, window)
    variance = cv2.blur(values * values, window) - mean * mean
    slope = variance / (variance + epsilon)
    return cv2.blur(slope, window) * values + cv2.blur(mean - slope * mean, window)
