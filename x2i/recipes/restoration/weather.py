"""Weather: haze, rain, heavy rain, snow, drops on the glass, and mixtures in the order in which light meets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source, Table
from x2i.recipes.restoration.base import Damaged, Range, Restoration, draw, one_of, to_uint8
from x2i.recipes.restoration.distance import distance
from x2i.recipes.restoration.falling import add_rain, add_snow, drops, rain_streaks, snow_flakes
from x2i.recipes.restoration.light import darken

MIXTURES = (
    "low_light+haze",
    "low_light+rain",
    "low_light+snow",
    "rain+haze",
    "snow+haze",
    "low_light+rain+haze",
    "low_light+snow+haze",
)
NOUNS = {"low_light": "darkness", "rain": "rain", "snow": "snow", "haze": "haze"}


@dataclass(frozen=True)
class Weather(Restoration):
    """What the tasks of this file share: their words."""

    phrasings = "weather"
    operation = "clearing the weather"


@dataclass(frozen=True)
class HazyWeather(Weather):
    """Weather that grows with the distance: the depth column is read where there is one."""

    depth: Annotated[str, Option("Column of depth maps, near is bright; a prior stands in where there is none.")] = (
        "depth"
    )

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.depth, optional=True, images=True),)


@dataclass(frozen=True)
class RemoveHaze(HazyWeather):
    """Haze as in OneRestore: J t + A (1 - t) with t = exp(-beta min(distance, .7)), beta 1 to 2, A .6 to .9."""

    name = "remove_haze"
    title = "Hazy photograph to clear photograph"
    operation = "removing the haze"
    damage_noun = "haze"
    no_damage = {"beta": (0.0, 0.0)}

    beta: Annotated[Range, Option("Attenuation over the whole distance.", ge=0, le=5)] = (1.0, 2.0)
    air: Annotated[Range, Option("Light of the air as a share of white.", ge=0, le=1)] = (0.6, 0.9)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        beta, air = draw(self.beta, random), draw(self.air, random)
        far, origin = distance(source, self.depth)
        return Damaged(add_haze(source.pixels, far, beta, air), {"beta": beta, "air": air, "distance": origin})


@dataclass(frozen=True)
class RemoveRain(Weather):
    """Streaks: sparse noise drawn out by a kernel; share U(40, 200)/25600, length 30 to 40, +-45 degrees, width 3-11.

    These are the ranges of VisualCloze, whose streaks many generators draw. Lengths are in pixels of REFERENCE_SIDE.
    """

    name = "remove_rain"
    title = "Rainy photograph to clear photograph"
    operation = "removing the rain"
    damage_noun = "rain"
    no_damage = {"opacity": (0.0, 0.0)}

    amount: Annotated[Range, Option("Share of the pixels where a streak begins.", ge=0, le=0.1)] = (0.0016, 0.0078)
    length: Annotated[Range, Option("Length in pixels at a shorter side of 384.", ge=1, le=100)] = (30.0, 40.0)
    width: Annotated[Range, Option("Width of the Gaussian that widens it, in such pixels.", ge=1, le=30)] = (3.0, 11.0)
    angle: Annotated[Range, Option("Degrees from the vertical.", ge=-80, le=80)] = (-45.0, 45.0)
    opacity: Annotated[Range, Option("Of the brightest streak.", ge=0, le=1)] = (0.8, 0.8)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        names = ("amount", "length", "width", "angle", "opacity")
        drawn = {name: draw(getattr(self, name), random) for name in names}
        streaks = rain_streaks(source.pixels, drawn["amount"], drawn["length"], drawn["width"], drawn["angle"], random)
        return Damaged(add_rain(source.pixels, streaks, drawn["opacity"]), drawn)


@dataclass(frozen=True)
class RemoveHeavyRain(HazyWeather):
    """Dense streaks, then the veil of drops too far to tell apart; ranges of a public generator's heaviest level
    (streaks) and of HeavyRainRemoval (beta 3 to 4.2, A .3 to .9, distance smoothed).

    The distance counts for at most .35, so that something of the scene is left.
    """

    name = "remove_heavy_rain"
    title = "Photograph in heavy rain to clear photograph"
    operation = "removing the rain"
    damage_noun = "heavy rain"

    amount: Annotated[Range, Option("Share of the pixels where a streak begins.", ge=0, le=0.1)] = (0.008, 0.010)
    length: Annotated[Range, Option("Length in pixels at a shorter side of 384.", ge=1, le=100)] = (45.0, 55.0)
    width: Annotated[Range, Option("Width of the Gaussian that widens it, in such pixels.", ge=1, le=30)] = (7.0, 9.0)
    angle: Annotated[Range, Option("Degrees from the vertical.", ge=-80, le=80)] = (-60.0, 60.0)
    beta: Annotated[Range, Option("Attenuation over the whole distance.", ge=0, le=5)] = (3.0, 4.2)
    air: Annotated[Range, Option("Light of the air as a share of white.", ge=0, le=1)] = (0.3, 0.9)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        names = ("amount", "length", "width", "angle", "beta", "air")
        drawn = {name: draw(getattr(self, name), random) for name in names}
        streaks = rain_streaks(source.pixels, drawn["amount"], drawn["length"], drawn["width"], drawn["angle"], random)
        far, origin = distance(source, self.depth)
        rainy = add_rain(source.pixels, streaks, 0.8)
        hazy = add_haze(rainy, far, drawn["beta"], drawn["air"], most=0.35)
        return Damaged(hazy, {**drawn, "distance": origin})


@dataclass(frozen=True)
class RemoveRaindrops(Weather):
    """Drops on the glass before the lens: each shows the scene small, upside down and out of focus. Ranges are ours."""

    name = "remove_raindrops"
    title = "Photograph through wet glass to clear photograph"
    operation = "removing the raindrops"
    damage_noun = "raindrops on the glass"
    no_damage = {"count": (0, 0)}

    count: Annotated[tuple[int, int], Option("Number of drops.", ge=0, le=500)] = (25, 90)
    radius: Annotated[Range, Option("Radius as a share of the shorter side.", gt=0, le=0.2)] = (0.01, 0.045)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        count = int(random.integers(self.count[0], self.count[1] + 1))
        pixels, covered = drops(source.pixels, count, self.radius, random)
        return Damaged(pixels, {"count": count, "coverage": round(covered, 4)})


@dataclass(frozen=True)
class RemoveSnow(Weather):
    """Flakes near and far over the picture: x (1 - m) + m, as in OneRestore; the flakes are drawn here, ranges ours."""

    name = "remove_snow"
    title = "Photograph in falling snow to clear photograph"
    operation = "removing the snow"
    damage_noun = "snow"
    no_damage = {"amount": (0.0, 0.0)}

    amount: Annotated[Range, Option("Share of the pixels where a flake is.", ge=0, le=0.05)] = (0.004, 0.02)
    angle: Annotated[Range, Option("Degrees from the vertical in which it falls.", ge=-80, le=80)] = (-40.0, 40.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        amount, angle = draw(self.amount, random, 6), draw(self.angle, random)
        flakes = snow_flakes(source.pixels, amount, angle, random)
        return Damaged(add_snow(source.pixels, flakes), {"amount": amount, "angle": angle})


@dataclass(frozen=True)
class RemoveMixedWeather(HazyWeather):
    """Two or three at once, in the order of CDD-11: low light, rain or snow, haze; each in its own task's ranges."""

    name = "remove_mixed_weather"
    title = "Photograph in several kinds of bad weather to clear photograph"

    mixtures: Annotated[tuple[str, ...], Option(f"With equal chance, of: {', '.join(MIXTURES)}.")] = MIXTURES

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        kinds = one_of(self.mixtures, random).split("+")
        pixels = source.pixels
        parameters: dict[str, Any] = {"kinds": kinds}
        for kind in kinds:
            pixels, drawn = self._add(kind, pixels, source, random)
            parameters[kind] = drawn
        nouns = [NOUNS[kind] for kind in kinds]
        words = " and ".join([", ".join(nouns[:-1]), nouns[-1]])
        return Damaged(pixels, parameters, {"damage": words})

    def _add(
        self, kind: str, pixels: RgbImage, source: Source, random: np.random.Generator
    ) -> tuple[RgbImage, Mapping[str, Any]]:
        if kind == "low_light":
            exponent = draw((2.0, 3.0), random)
            return to_uint8(darken(pixels, exponent)), {"exponent": exponent}
        if kind == "haze":
            haze = RemoveHaze(depth=self.depth)
            beta, air = draw(haze.beta, random), draw(haze.air, random)
            return add_haze(pixels, distance(source, self.depth)[0], beta, air), {"beta": beta, "air": air}
        alone = RemoveRain() if kind == "rain" else RemoveSnow()
        added = alone.damage(Source(pixels), {}, random)
        return added.pixels, added.parameters


def add_haze(image: RgbImage, far: np.ndarray, beta: float, air: float, most: float = 0.7) -> RgbImage:
    """Returns J t + A (1 - t), t = exp(-beta min(far, most)). far: distance_HW, 0 to 1. air: share of white."""
    t = np.exp(np.minimum(far, most) * np.float32(-beta))[..., None]
    return to_uint8(image * t + np.float32(255 * air) * (1 - t))
