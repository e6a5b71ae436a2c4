"""Super-resolution from pictures that went through the world: Real-ESRGAN's two stages, BSRGAN's shuffled steps.

Both shrink the photograph and enlarge it again to its size; every step that was taken is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Restoration, draw_log, one_of, to_uint8
from x2i.recipes.restoration.denoise import gaussian, jpeg
from x2i.recipes.restoration.kernels import Kernel, convolve, generalized_kernel, sinc_kernel
from x2i.recipes.restoration.noise import photon_counts
from x2i.recipes.restoration.sensor_noise import with_sensor_noise

SINC_CHANCE, GRAY_CHANCE = 0.1, 0.4
KERNELS = (  # name, oblong, chance
    ("gaussian", False, 0.45),
    ("gaussian", True, 0.25),
    ("generalized", False, 0.12),
    ("generalized", True, 0.03),
    ("plateau", False, 0.12),
    ("plateau", True, 0.03),
)


@dataclass(frozen=True)
class Stage:
    """One stage of Real-ESRGAN. resize: chances to enlarge and to shrink; scales: how far. The rest are ranges."""

    blur_chance: float
    sigma: tuple[float, float]
    resize: tuple[float, float]
    scales: tuple[float, float]
    gaussian: tuple[float, float]
    poisson: tuple[float, float]
    quality: tuple[int, int] = (30, 95)


FIRST = Stage(1.0, (0.2, 3.0), (0.2, 0.7), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0))
SECOND = Stage(0.8, (0.2, 1.5), (0.3, 0.4), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5))


@dataclass(frozen=True)
class RealWorldSuperResolution(Restoration):
    """What both share."""

    phrasings = "super_resolution"
    operation = "restoring a small, degraded photo"
    bytes_per_pixel = 0.65

    factors: Annotated[tuple[float, ...], Option("Factors of reduction, with equal chance.", ge=1, le=8)] = (2.0, 4.0)


@dataclass(frozen=True)
class SuperResolutionRealEsrgan(RealWorldSuperResolution):
    """Blur, resize, noise and JPEG, twice, with the ranges of Real-ESRGAN's training options (x4plus).

    Sinc blur with p .1 in both stages; at the end a sinc with p .8 and JPEG in random order. Kernels are 7 to 21 px.
    """

    name = "super_resolution_real_esrgan"
    title = "Photograph degraded in two stages to full resolution"

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        image = source.pixels
        height, width = image.shape[:2]
        factor = self.factors[int(random.integers(len(self.factors)))]
        small = max(8, round(width / factor)), max(8, round(height / factor))
        steps = Steps(image, random)
        steps.stage(FIRST, (width, height))
        steps.apply("jpeg", jpeg, int(random.integers(FIRST.quality[0], FIRST.quality[1] + 1)))
        steps.stage(SECOND, small)
        quality, sinc = int(random.integers(SECOND.quality[0], SECOND.quality[1] + 1)), random.random() < 0.8
        early = random.random() < 0.5
        if early:
            steps.apply("jpeg", jpeg, quality)
        steps.resize(small)
        if sinc:
            steps.sinc()
        if not early:
            steps.apply("jpeg", jpeg, quality)
        steps.resize((width, height), "bicubic")
        return Damaged(steps.image, {"factor": factor, "steps": steps.taken})


@dataclass(frozen=True)
class SuperResolutionBsrgan(RealWorldSuperResolution):
    """Two blurs, two reductions, noise, JPEG and sensor noise in random order, JPEG always at the end, as in BSRGAN.

    The second reduction stays after the first. Ranges and chances are BSRGAN's. Noise with a covariance between the
    channels has the level that was drawn; there it always has the largest.
    """

    name = "super_resolution_bsrgan"
    title = "Photograph degraded in random order to full resolution"
    version = 2

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        image = source.pixels
        height, width = image.shape[:2]
        factor = self.factors[int(random.integers(len(self.factors)))]
        small = max(8, round(width / factor)), max(8, round(height / factor))
        steps = Steps(image, random)
        if random.random() < 0.25:
            steps.resize(tuple(max(8, round(side / random.uniform(1, 2))) for side in (width, height)))  # type: ignore[arg-type]
        actions: dict[str, Callable[[], None]] = {
            "blur_1": lambda: steps.bsrgan_blur(factor),
            "blur_2": lambda: steps.bsrgan_blur(factor),
            "reduce_1": lambda: steps.bsrgan_reduce(factor),
            "reduce_2": lambda: steps.resize(small),
            "noise": steps.bsrgan_noise,
            "sensor": lambda: steps.sensor_noise() if random.random() < 0.25 else None,
            "jpeg": lambda: steps.apply("jpeg", jpeg, int(random.integers(30, 96))) if random.random() < 0.9 else None,
        }
        order = [list(actions)[number] for number in random.permutation(len(actions))]
        first, second = order.index("reduce_1"), order.index("reduce_2")
        if second < first:
            order[first], order[second] = order[second], order[first]
        for name in order:
            actions[name]()
        steps.apply("jpeg", jpeg, int(random.integers(30, 96)))
        steps.resize((width, height), "bicubic")
        return Damaged(steps.image, {"factor": factor, "steps": steps.taken})


@dataclass
class Steps:
    """An image on its way: what was done to it so far, and the steps that can be done next."""

    image: RgbImage
    random: np.random.Generator
    taken: list[str] = field(default_factory=list)

    def apply(self, name: str, function: Callable[..., RgbImage], value: float) -> None:
        self.image = function(self.image, value)
        self.taken.append(f"{name} {value:g}")

    def blur(self, kernel: Kernel, note: str) -> None:
        self.image = convolve(self.image, kernel)
        self.taken.append(f"blur {note}")

    def sinc(self) -> None:
        cutoff = round(float(self.random.uniform(np.pi / 3, np.pi)), 4)
        self.blur(sinc_kernel(_odd(self.random, 7, 21), cutoff), f"sinc {cutoff:g}")

    def resize(self, size: tuple[int, int], method: str | None = None) -> None:
        """Resizes to (width, height), by area, bilinear or bicubic if `method` does not say which."""
        import cv2

        methods = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
        method = method or list(methods)[int(self.random.integers(3))]
        if (size[1], size[0]) == self.image.shape[:2]:
            return
        self.image = cv2.resize(self.image, size, interpolation=methods[method])
        self.taken.append(f"resize {method} {size[0]}x{size[1]}")

    def noise(self, levels: tuple[float, float]) -> None:
        level = round(float(self.random.uniform(*levels)), 2)
        monochrome = bool(self.random.random() < GRAY_CHANCE)
        self.image = gaussian(self.image, level, monochrome, self.random)
        self.taken.append(f"gaussian {level:g}{' gray' if monochrome else ''}")

    def photon_noise(self, scales: tuple[float, float]) -> None:
        """Photon noise as if white were 255 photons, its deviation `scale` times as large."""
        scale, monochrome = round(float(self.random.uniform(*scales)), 4), bool(self.random.random() < GRAY_CHANCE)
        light = np.rint(self.image.mean(2, keepdims=True)).astype(np.uint8) if monochrome else self.image
        counts = photon_counts(light, 255.0, self.random)
        self.image = to_uint8(self.image + np.float32(scale) * (counts - light))
        self.taken.append(f"poisson {scale:g}{' gray' if monochrome else ''}")

    def stage(self, stage: Stage, size: tuple[int, int]) -> None:
        """Blur, resize (relative to `size`) and noise of one stage of Real-ESRGAN."""
        random = self.random
        if random.random() < stage.blur_chance:
            if random.random() < SINC_CHANCE:
                self.sinc()
            else:
                self.blur(*_kernel(random, stage.sigma))
        kind = random.random()
        if kind < stage.resize[0]:
            scale = float(random.uniform(1, stage.scales[1]))
        elif kind < sum(stage.resize):
            scale = float(random.uniform(stage.scales[0], 1))
        else:
            scale = 1.0
        self.resize((max(8, round(size[0] * scale)), max(8, round(size[1] * scale))))
        if random.random() < 0.5:
            self.noise(stage.gaussian)
        else:
            self.photon_noise(stage.poisson)

    def sensor_noise(self) -> None:
        shot = draw_log((1e-4, 0.012), self.random, 6)
        self.image = with_sensor_noise(self.image, shot, self.random).pixels
        self.taken.append(f"sensor {shot:g}")

    def bsrgan_noise(self) -> None:
        level = round(float(self.random.uniform(2.0, 25.0)), 2)
        kind = one_of(("color", "color", "gray", "gray", "covariance"), self.random)
        if kind == "covariance":
            self.image = covariance_noise(self.image, level, self.random)
        else:
            self.image = gaussian(self.image, level, kind == "gray", self.random)
        self.taken.append(f"noise {kind} {level:g}")

    def bsrgan_blur(self, factor: float) -> None:
        random, size = self.random, _odd(self.random, 7, 25)
        if random.random() < 0.5:
            sigma_x, sigma_y = np.sqrt(random.uniform(0.1, 4 + factor, 2))  # l1, l2 are variances
            kernel = generalized_kernel(size, sigma_x, sigma_y, random.uniform(0, np.pi))
            self.blur(kernel, f"gaussian {sigma_x:.3g} by {sigma_y:.3g}")
        else:
            sigma = round(float(random.uniform(0.1, 2 + 0.2 * factor)), 4)
            self.blur(generalized_kernel(size, sigma, sigma, 0), f"gaussian {sigma:g}")

    def bsrgan_reduce(self, factor: float) -> None:
        height, width = self.image.shape[:2]
        if self.random.random() < 0.75:
            shrink = float(self.random.uniform(1, 2 * factor))
            self.resize((max(8, round(width / shrink)), max(8, round(height / shrink))))
            return
        sigma = float(self.random.uniform(0.1, 0.6 * factor))
        self.blur(generalized_kernel(25, sigma, sigma, 0), f"gaussian {sigma:.3g}")
        step = max(1, round(factor))
        self.image = np.ascontiguousarray(self.image[::step, ::step])
        self.taken.append(f"every pixel number {step}")


def covariance_noise(image: RgbImage, level: float, random: np.random.Generator) -> RgbImage:
    """Adds normal noise whose channels go together: random axes of RGB, variances of 0 to `level` squared on each."""
    axes_33, _ = np.linalg.qr(random.standard_normal((3, 3)))
    spread_33 = level * axes_33 * np.sqrt(random.uniform(size=3))
    return to_uint8(image + random.standard_normal(image.shape, np.float32) @ spread_33.T.astype(np.float32))


def _odd(random: np.random.Generator, low: int, high: int) -> int:
    return low + 2 * int(random.integers((high - low) // 2 + 1))


def _kernel(random: np.random.Generator, sigmas: tuple[float, float]) -> tuple[Kernel, str]:
    """Returns one of Real-ESRGAN's kernels and what it is."""
    size = _odd(random, 7, 21)
    name, oblong, _ = KERNELS[int(random.choice(len(KERNELS), p=[chance for _, _, chance in KERNELS]))]
    sigma_x, sigma_y = random.uniform(*sigmas, size=2)
    angle = float(random.uniform(-np.pi, np.pi))
    if not oblong:
        sigma_y = sigma_x
    beta = {"gaussian": 1.0, "generalized": random.uniform(0.5, 4), "plateau": random.uniform(1, 2)}[name]
    kernel = generalized_kernel(size, sigma_x, sigma_y, angle, beta, name == "plateau")
    return kernel, f"{name} {sigma_x:.3g}{f' by {sigma_y:.3g}' if oblong else ''}"
