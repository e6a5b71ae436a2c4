"""denoise: a photograph spoiled by sensor noise, dead pixels or compression in, the clean one out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from x2i.reasons import Dropped
from x2i.recipes.base import OneInputRecipe, Pair, RgbImage, restoration
from x2i.sample import Task

Damage = tuple[RgbImage, dict[str, Any], str]


class Denoise(OneInputRecipe):
    """One of four kinds of damage, with equal chance; the instruction may name the kind."""

    name = "denoise"
    task = Task.DENOISE
    operation = "removing noise"
    bytes_per_pixel = 1.2

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        kind = list(KINDS)[int(random.integers(len(KINDS)))]
        damaged, parameters, words = KINDS[kind](image, random)
        return restoration(damaged, image, {"kind": kind, **parameters}, damage=words)


def gaussian(image: RgbImage, random: np.random.Generator) -> Damage:
    """Adds noise of a standard deviation of 12 to 50 gray levels, to each channel apart or to all alike."""
    sigma, monochrome = round(float(random.uniform(12, 50)), 2), bool(random.integers(2))
    shape = (*image.shape[:2], 1) if monochrome else image.shape
    noisy = image + sigma * random.standard_normal(shape, np.float32)
    return _to_uint8(noisy), {"sigma": sigma, "monochrome": monochrome}, "gaussian noise"


def poisson(image: RgbImage, random: np.random.Generator) -> Damage:
    """Counts photons: a white pixel catches 8 to 50 of them on average, a darker one fewer."""
    photons = round(float(random.uniform(8, 50)), 2)
    noisy = random.poisson(image.astype(np.float32) / 255 * photons) / photons * 255
    return _to_uint8(noisy), {"photons": photons}, "photon noise"


def salt_and_pepper(image: RgbImage, random: np.random.Generator) -> Damage:
    """Turns 2 to 15 per cent of the pixels white or black, half and half."""
    amount = round(float(random.uniform(0.02, 0.15)), 4)
    chance_HW = random.random(image.shape[:2])
    noisy = image.copy()
    noisy[chance_HW < amount / 2] = 0
    noisy[chance_HW > 1 - amount / 2] = 255
    return noisy, {"amount": amount}, "salt-and-pepper noise"


def jpeg(image: RgbImage, random: np.random.Generator) -> Damage:
    """Compresses as JPEG at quality 4 to 18."""
    from x2i.image import decode, encode

    quality = int(random.integers(4, 19))
    return decode(encode(image, "jpeg", quality)), {"quality": quality}, "JPEG compression damage"


KINDS: dict[str, Callable[[RgbImage, np.random.Generator], Damage]] = {
    "gaussian": gaussian,
    "poisson": poisson,
    "salt_and_pepper": salt_and_pepper,
    "jpeg": jpeg,
}


def _to_uint8(values: np.ndarray) -> RgbImage:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
