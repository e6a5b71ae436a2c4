"""Blur of one kind a task: Gaussian, lens, motion, camera shake and glass. Radii are in pixels of REFERENCE_SIDE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, at_severity, draw, scale_of
from x2i.recipes.restoration.kernels import Kernel, convolve, disc_kernel, gaussian_blur, path_kernel

MOTION = ((5.0, 3.0), (10.0, 5.0), (15.0, 7.0), (15.0, 9.0), (20.0, 12.0))  # radius, sigma: VisualCloze
GLASS = ((0.7, 1.0, 2.0), (0.9, 2.0, 1.0), (1.0, 2.0, 3.0), (1.1, 3.0, 2.0), (1.5, 4.0, 2.0))  # ImageNet-C


@dataclass(frozen=True)
class Blurred(Restoration):
    """What the tasks of this file share: their words."""

    phrasings = "deblur"
    operation = "removing the blur"
    damage_noun = "blur"
    bytes_per_pixel = 0.7


@dataclass(frozen=True)
class RemoveGaussianBlur(Blurred):
    """A Gaussian; standard deviations of ImageNet-C, severities 1 to 5."""

    name = "remove_gaussian_blur"
    title = "Gaussian blur to sharp photograph"
    no_damage = {"sigma": (0.0, 0.0)}

    sigma: Annotated[Range, Option("Standard deviation in pixels at a shorter side of 384.", ge=0, le=20)] = (1.0, 6.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        sigma = draw(self.sigma, random) * scale_of(source.pixels)
        return Damaged(gaussian_blur(source.pixels, sigma), {"sigma_px": round(sigma, 4)})


@dataclass(frozen=True)
class RemoveLensBlur(Blurred):
    """A disc, as of a lens out of focus; radii of VisualCloze, severities 1 to 5 (2, 3, 4, 6, 8)."""

    name = "remove_lens_blur"
    title = "Photograph out of focus to sharp photograph"
    damage_noun = "lens blur"
    no_damage = {"radius": (0.0, 0.0)}

    radius: Annotated[Range, Option("Radius in pixels at a shorter side of 384.", ge=0, le=30)] = (2.0, 8.0)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        radius = draw(self.radius, random) * scale_of(source.pixels)
        return Damaged(convolve(source.pixels, disc_kernel(radius)), {"radius_px": round(radius, 4)})


@dataclass(frozen=True)
class RemoveMotionBlur(Blurred):
    """A straight movement that fades out like half a Gaussian; radius and sigma of VisualCloze, severities 1 to 5."""

    name = "remove_motion_blur"
    title = "Photograph with motion blur to sharp photograph"
    damage_noun = "motion blur"
    no_damage = {"severity": (0.0, 0.0)}

    severity: Annotated[Range, Option("1 (radius 5, sigma 3) to 5 (radius 20, sigma 12); 0 is none.", ge=0, le=5)] = (
        1.0,
        5.0,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        severity, degrees = draw(self.severity, random), draw((0, 360), random, 2)
        radius, sigma = (value * scale_of(source.pixels) for value in at_severity(MOTION, severity))
        parameters = {"severity": severity, "radius_px": round(radius, 4), "sigma_px": round(sigma, 4)}
        kernel = fading_kernel(radius, sigma, degrees)
        return Damaged(convolve(source.pixels, kernel), {**parameters, "angle_degrees": degrees})


@dataclass(frozen=True)
class RemoveCameraShake(Blurred):
    """A camera that shakes during the exposure: a random walk with inertia, impulses and a pull to its start.

    The walk and its ranges are DeblurGAN's: length 60 on a canvas of 64, pull U(0, .7), chance of an impulse U(0, .2),
    jitter U(0, 10). The whole walk is the exposure, or half of it; a tenth, which DeblurGAN also has, hardly shows.
    """

    name = "remove_camera_shake"
    title = "Photograph blurred by camera shake to sharp photograph"
    damage_noun = "camera shake"
    no_damage = {"length": (0.0, 0.0), "least_spread": 0.0}

    length: Annotated[Range, Option("Length of the walk in pixels at a shorter side of 384.", ge=0, le=120)] = (
        30.0,
        60.0,
    )
    least_spread: Annotated[
        float, Option("Walks that spread less are drawn again; deviation in such pixels.", ge=0)
    ] = 2.0
    exposures: Annotated[tuple[float, ...], Option("Share of the walk that is exposed, one of these.", gt=0, le=1)] = (
        0.5,
        1.0,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        length = draw(self.length, random) * scale_of(source.pixels)
        exposure = self.exposures[int(random.integers(len(self.exposures)))]
        for _ in range(20):  # many walks go in circles, too small to show
            walk = shake(random)
            walk = walk[: max(2, int(len(walk) * exposure))] * length
            if np.std(walk) >= self.least_spread * scale_of(source.pixels):
                break
        parameters = {"length_px": round(length, 4), "exposure": exposure}
        return Damaged(convolve(source.pixels, walk_kernel(walk)), parameters)


@dataclass(frozen=True)
class RemoveGlassBlur(Blurred):
    """Seen through rough glass: pixels taken from random places nearby, between two Gaussians; levels of ImageNet-C.

    Each pixel is taken from a neighbor at most so many pixels away, several times over; ImageNet-C swaps the two.
    """

    name = "remove_glass_blur"
    title = "Photograph through rough glass to sharp photograph"
    damage_noun = "glass distortion"
    no_damage = {"severity": (0.0, 0.0)}

    severity: Annotated[Range, Option("1 (sigma .7, reach 1, twice) to 5 (1.5, 4, twice); 0 is none.", ge=0, le=5)] = (
        1.0,
        5.0,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        severity = draw(self.severity, random)
        sigma, reach, times = at_severity(GLASS, severity)
        sigma, reach = sigma * scale_of(source.pixels), reach * scale_of(source.pixels)
        pixels = gaussian_blur(source.pixels, sigma)
        for _ in range(round(times)):
            pixels = scatter(pixels, reach, random)
        parameters = {"severity": severity, "sigma_px": round(sigma, 4), "reach_px": round(reach, 4)}
        return Damaged(gaussian_blur(pixels, sigma), {**parameters, "times": round(times)})


def fading_kernel(radius: float, sigma: float, degrees: float) -> Kernel:
    """Returns the kernel_KK of a movement over 2 * radius pixels from the middle, weighted by a Gaussian of `sigma`."""
    steps = np.linspace(0, 2 * radius, max(2, int(16 * radius)))
    weights = np.exp(-(steps**2) / (2 * sigma**2)) if sigma > 0 else np.ones_like(steps)
    x, y = steps * np.cos(np.deg2rad(degrees)), -steps * np.sin(np.deg2rad(degrees))
    return path_kernel(x, y, int(np.ceil(2 * radius)), weights)


def shake(random: np.random.Generator, steps: int = 2000) -> NDArray[np.complex128]:
    """Returns the places of a shaking camera, one a step, as x + iy; the walk's length is 1."""
    nervousness, pull = random.uniform(0, 0.1), random.uniform(0, 0.7)
    impulse_chance, jitter = random.uniform(0, 0.2) * nervousness, random.uniform(0, 10)
    pace = 1.0 / (steps - 1)
    velocity = complex(np.exp(2j * np.pi * random.uniform())) * pace
    noise = (nervousness * jitter * pace * (random.standard_normal((steps, 2)) @ [1, 1j])).tolist()
    impulses, turns = (random.uniform(size=steps) < impulse_chance).tolist(), random.uniform(-0.5, 0.5, steps)
    turned = (2 * np.exp(1j * (np.pi + turns))).tolist()
    pull_back, place, places = nervousness * pull * pace * 60, 0j, [0j]
    for step in range(steps - 1):
        if impulses[step]:
            velocity += velocity * turned[step]
        velocity += noise[step] - pull_back * place
        velocity *= pace / (abs(velocity) or pace)
        place += velocity
        places.append(place)
    return np.array(places)


def walk_kernel(walk: NDArray[np.complex128]) -> Kernel:
    """Returns the kernel_KK of a walk in pixels, as small as it can be, the walk's mean place in its middle."""
    x, y = walk.real - walk.real.mean(), walk.imag - walk.imag.mean()
    return path_kernel(x, y, int(np.ceil(max(np.abs(x).max(), np.abs(y).max()))))


def scatter(image: RgbImage, reach: float, random: np.random.Generator) -> RgbImage:
    """Returns `image` with every pixel taken from a random place at most `reach` pixels away in x and in y."""
    import cv2

    height, width = image.shape[:2]
    offsets = random.random((2, height, width), np.float32) * np.float32(2 * reach) - np.float32(reach)
    x = np.rint(offsets[0]) + np.arange(width, dtype=np.float32)
    y = np.rint(offsets[1]) + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
