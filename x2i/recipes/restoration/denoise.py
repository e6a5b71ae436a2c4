"""denoise: a photograph spoiled by sensor noise, dead pixels or compression in, the clean one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, one_of, to_uint8

Kind = Literal["gaussian", "poisson", "salt_and_pepper", "jpeg"]


@dataclass(frozen=True)
class Denoise(Restoration):
    """One of several kinds of damage, with equal chance; the instruction may name the kind."""

    name = "denoise"
    title = "Noisy or over-compressed photograph to clean photograph"
    operation = "removing noise"
    no_damage = {"kinds": ("gaussian",), "sigma": (0.0, 0.0)}
    bytes_per_pixel = 1.2

    kinds: Annotated[
        tuple[Kind, ...], Option("Kinds of damage, with equal chance: gaussian, poisson, salt_and_pepper, jpeg.")
    ] = ("gaussian", "poisson", "salt_and_pepper", "jpeg")
    sigma: Annotated[Range, Option("Gaussian: standard deviation in gray levels.", ge=0, le=255)] = (12.0, 50.0)
    photons: Annotated[Range, Option("Poisson: photons that a white pixel catches on average.", gt=0)] = (8.0, 50.0)
    amount: Annotated[Range, Option("Salt and pepper: share of the pixels.", ge=0, le=1)] = (0.02, 0.15)
    jpeg_quality: Annotated[tuple[int, int], Option("JPEG: quality.", ge=1, le=95)] = (4, 18)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        kind = one_of(self.kinds, random)
        image = source.pixels
        if kind == "gaussian":
            sigma, monochrome = round(float(random.uniform(*self.sigma)), 2), bool(random.integers(2))
            pixels, words = gaussian(image, sigma, monochrome, random), "gaussian noise"
            parameters: dict[str, Any] = {"sigma": sigma, "monochrome": monochrome}
        elif kind == "poisson":
            photons = round(float(random.uniform(*self.photons)), 2)
            noisy = random.poisson(image.astype(np.float32) / 255 * photons) / photons * 255
            pixels, words, parameters = to_uint8(noisy), "photon noise", {"photons": photons}
        elif kind == "salt_and_pepper":
            amount = round(float(random.uniform(*self.amount)), 4)
            pixels, words = salt_and_pepper(image, amount, random), "salt-and-pepper noise"
            parameters = {"amount": amount}
        else:
            quality = int(random.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1))
            pixels, words, parameters = jpeg(image, quality), "JPEG compression damage", {"quality": quality}
        return Damaged(pixels, {"kind": kind, **parameters}, {"damage": words})


def gaussian(image: RgbImage, sigma: float, monochrome: bool, random: np.random.Generator) -> RgbImage:
    """Adds noise of standard deviation `sigma`, to each channel apart or to all alike."""
    shape = (*image.shape[:2], 1) if monochrome else image.shape
    return to_uint8(image + sigma * random.standard_normal(shape, np.float32))


def salt_and_pepper(image: RgbImage, amount: float, random: np.random.Generator) -> RgbImage:
    """Turns a share `amount` of the pixels white or black, half and half."""
    chance_HW = random.random(image.shape[:2])
    noisy = image.copy()
    noisy[chance_HW < amount / 2] = 0
    noisy[chance_HW > 1 - amount / 2] = 255
    return noisy


def jpeg(image: RgbImage, quality: int) -> RgbImage:
    """Returns `image` after JPEG compression at `quality`, 1 to 100."""
    from x2i.image import decode, encode

    return decode(encode(image, "jpeg", quality))
