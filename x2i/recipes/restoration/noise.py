"""Noise of one kind a task: Gaussian, photon, speckle, correlated, impulse. Ranges are those of VisualCloze."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, draw, to_uint8


@dataclass(frozen=True)
class Noisy(Restoration):
    """What the tasks of noise share: their words."""

    phrasings = "denoise"
    operation = "removing noise"
    damage_noun = "noise"
    bytes_per_pixel = 1.2


@dataclass(frozen=True)
class RemoveGaussianNoise(Noisy):
    """The same normal noise everywhere, each channel apart; VisualCloze draws the deviation from 10 to 50."""

    name = "remove_gaussian_noise"
    title = "Photograph with Gaussian noise to clean photograph"
    damage_noun = "Gaussian noise"
    no_damage = {"sigma": (0.0, 0.0)}

    sigma: Annotated[Range, Option("Standard deviation in gray levels.", ge=0, le=255)] = (10.0, 50.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        sigma = draw(self.sigma, random)
        noise = random.standard_normal(source.pixels.shape, np.float32)
        return Damaged(to_uint8(source.pixels + np.float32(sigma) * noise), {"sigma": sigma})


@dataclass(frozen=True)
class RemovePoissonNoise(Noisy):
    """Counted photons: the variance grows with the light; VisualCloze has 80 (weak) to 15 photons for white."""

    name = "remove_poisson_noise"
    title = "Photograph with photon noise to clean photograph"
    damage_noun = "photon noise"

    photons: Annotated[Range, Option("Photons that a white pixel catches on average.", gt=0)] = (15.0, 80.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        photons = draw(self.photons, random)
        counts = photon_counts(source.pixels, photons, random)
        return Damaged(to_uint8(counts * np.float32(255 / photons)), {"photons": photons})


@dataclass(frozen=True)
class RemoveSpeckleNoise(Noisy):
    """Noise that multiplies: x (1 + n), n normal; deviations of VisualCloze, .14 to .42."""

    name = "remove_speckle_noise"
    title = "Photograph with speckle noise to clean photograph"
    damage_noun = "speckle noise"
    no_damage = {"sigma": (0.0, 0.0)}

    sigma: Annotated[Range, Option("Standard deviation as a share of the pixel's value.", ge=0, le=2)] = (0.14, 0.42)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        sigma = draw(self.sigma, random)
        noise = random.standard_normal(source.pixels.shape, np.float32)
        return Damaged(to_uint8(source.pixels * (1 + np.float32(sigma) * noise)), {"sigma": sigma})


@dataclass(frozen=True)
class RemoveCorrelatedNoise(Noisy):
    """Noise in blotches: normal noise after a Gaussian, brought back to its deviation; VisualCloze has .08 to .22."""

    name = "remove_correlated_noise"
    title = "Photograph with blotchy noise to clean photograph"
    damage_noun = "blotchy noise"
    no_damage = {"sigma": (0.0, 0.0)}

    sigma: Annotated[Range, Option("Standard deviation as a share of white.", ge=0, le=1)] = (0.08, 0.22)
    grain: Annotated[Range, Option("Standard deviation of the Gaussian that spreads it, in pixels.", ge=0.3, le=5)] = (
        0.8,
        2.0,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        sigma, grain = draw(self.sigma, random), draw(self.grain, random)
        noise = correlated_noise(source.pixels.shape, grain, random)
        parameters = {"sigma": sigma, "grain_px": grain}
        return Damaged(to_uint8(source.pixels + np.float32(255 * sigma) * noise), parameters)


@dataclass(frozen=True)
class RemoveImpulseNoise(Noisy):
    """Single channels of single pixels stuck at black or white, half and half; shares of VisualCloze, .01 to .10."""

    name = "remove_impulse_noise"
    title = "Photograph with stuck pixels to clean photograph"
    damage_noun = "impulse noise"
    no_damage = {"amount": (0.0, 0.0)}

    amount: Annotated[Range, Option("Share of the values.", ge=0, le=1)] = (0.01, 0.10)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        amount = draw(self.amount, random)
        chance = random.random(source.pixels.shape, np.float32)
        pixels = source.pixels.copy()
        pixels[chance < amount / 2] = 0
        pixels[chance > 1 - amount / 2] = 255
        return Damaged(pixels, {"amount": amount})


def photon_counts(image: RgbImage, photons: float, random: np.random.Generator) -> np.ndarray:
    """Returns float32 counts of the shape of `image`, Poisson around value / 255 * `photons`.

    They are drawn from a table of 1024 quantiles for each of the 256 values, four times as fast as one by one.
    """
    from scipy.special import gammaln

    means = np.arange(256)[:, None] / 255 * photons
    counts = np.arange(int(photons + 6 * np.sqrt(photons) + 10))
    chances = np.exp(counts * np.log(np.maximum(means, 1e-9)) - means - gammaln(counts + 1))
    cumulative = np.minimum(np.cumsum(chances, 1), 1 - 1e-9) + np.arange(256)[:, None]
    wanted = (np.arange(1024) + 0.5) / 1024 + np.arange(256)[:, None]
    places = np.searchsorted(cumulative.ravel(), wanted.ravel()).reshape(wanted.shape)
    table = (places - len(counts) * np.arange(256)[:, None]).astype(np.float32)
    draws = random.integers(0, 1024, image.shape, np.uint16)
    return table.ravel()[image.astype(np.int32) * 1024 + draws]


def correlated_noise(shape: tuple[int, ...], grain: float, random: np.random.Generator) -> np.ndarray:
    """Returns float32 noise of `shape` with deviation 1, correlated over a Gaussian of deviation `grain` pixels."""
    import cv2

    noise = cv2.GaussianBlur(random.standard_normal(shape, np.float32), (0, 0), grain)
    return noise / max(float(noise.std()), 1e-6)
