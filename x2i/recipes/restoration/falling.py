"""Rain streaks, snowflakes and drops on a glass, drawn as maps and laid over a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x2i.recipes.base import RgbImage
from x2i.recipes.restoration.base import Range, scale_of, to_uint8
from x2i.recipes.restoration.deblur import motion_kernel
from x2i.recipes.restoration.kernels import convolve, disc_kernel

SNOW_LAYERS = ((0.8, 0.7), (2.0, 0.24), (4.5, 0.06))  # radius in pixels of REFERENCE_SIDE, share of the flakes


def rain_streaks(
    image: RgbImage, amount: float, length: float, width: float, angle: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Returns a map_HW of streaks, 0 to 1: single pixels, a share `amount` of them, drawn out to lines.

    length, width: in pixels of REFERENCE_SIDE; width is the window of the Gaussian across. angle: from the vertical.
    """
    import cv2

    height, breadth = image.shape[:2]
    chance = random.random((height, breadth), np.float32)
    points = np.where(chance < amount, np.float32(0.5) + chance * np.float32(0.5 / amount), np.float32(0))
    kernel = motion_kernel(max(3.0, length * scale_of(image)), 90 + angle)
    sigma = max(0.4, width * scale_of(image) / 10)
    pad = int(np.ceil(3 * sigma))
    kernel = cv2.GaussianBlur(np.pad(kernel, pad), (0, 0), sigma)
    streaks = convolve(points, kernel)
    return np.clip(streaks / max(float(np.quantile(streaks[::4, ::4], 0.995)), 1e-6), 0, 1)


def add_rain(image: RgbImage, streaks: NDArray[np.float32], opacity: float) -> RgbImage:
    """Returns `image` under gray-white streaks."""
    cover = (streaks * np.float32(opacity))[..., None]
    return to_uint8(image * (1 - cover) + np.float32(220) * cover)


def snow_flakes(image: RgbImage, amount: float, angle: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Returns a map_HW of flakes, 0 to 1: many small far ones, few large near ones, drawn out as they fall.

    amount: share of the pixels where a flake is. angle: of their fall, in degrees from the vertical.
    """
    cover = np.zeros(image.shape[:2], np.float32)
    for radius, share in SNOW_LAYERS if amount else ():
        size = max(0.5, radius * scale_of(image))
        density = amount * share / max(1.0, size)
        chance = random.random(image.shape[:2], np.float32)
        points = np.where(chance < density, np.float32(0.6) + chance * np.float32(0.4 / density), np.float32(0))
        disc = disc_kernel(size)
        flakes = convolve(points, disc / disc.max())
        if size > 1:
            flakes = convolve(flakes, motion_kernel(1.5 * size, 90 + angle))
        cover = 1 - (1 - cover) * (1 - np.clip(flakes, 0, 1))
    return cover


def add_snow(image: RgbImage, flakes: NDArray[np.float32]) -> RgbImage:
    """Returns x (1 - m) + white m."""
    return to_uint8(image + flakes[..., None] * (np.float32(250) - image))


def drops(image: RgbImage, count: int, radius: Range, random: np.random.Generator) -> tuple[RgbImage, float]:
    """Returns `image` seen past `count` drops on a glass, and the share of the picture that they cover.

    A drop is a lens: it shows the scene around it upside down and small, out of focus, darker at its upper border and
    with a highlight. radius: as a share of the shorter side.
    """
    import cv2

    height, width = image.shape[:2]
    side = min(height, width)
    soft = cv2.GaussianBlur(image, (0, 0), max(0.6, side / 250))
    out, covered = image.astype(np.float32), np.zeros((height, width), bool)
    for _ in range(count):
        size = max(2.0, side * radius[0] * (radius[1] / radius[0]) ** float(random.random() ** 1.7))
        x, y, tall = random.uniform(0, width), random.uniform(0, height), random.uniform(0.9, 1.5)
        zoom, turn = random.uniform(4, 8), random.uniform(-0.3, 0.3)
        top, bottom = max(0, int(y - size * tall - 2)), min(height, int(y + size * tall + 3))
        left, right = max(0, int(x - size - 2)), min(width, int(x + size + 3))
        if top >= bottom or left >= right:
            continue
        v, u = np.mgrid[top:bottom, left:right].astype(np.float32)
        du, dv = (u - x) + turn * (v - y), v - y
        lobes = 1 + 0.12 * np.sin(3 * np.arctan2(dv, du) + 20 * turn)
        reach = np.hypot(du / size, dv / (size * tall)) / lobes
        alpha = np.clip((1 - reach) * size / 1.5, 0, 1)[..., None]
        seen_x, seen_y = np.float32(x) - du * zoom, np.float32(y) - dv * zoom
        seen = cv2.remap(
            soft, seen_x.astype(np.float32), seen_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        ).astype(np.float32)
        shade = 1 - 0.55 * np.clip(reach, 0, 1) ** 4 * np.clip(0.6 - dv / (size * tall), 0, 1)
        glint = np.exp(-(((du / size + 0.3) ** 2 + (dv / (size * tall) + 0.45) ** 2) / 0.02))
        seen = seen * shade[..., None] + 120 * glint[..., None]
        window = out[top:bottom, left:right]
        window += alpha * (seen - window)
        covered[top:bottom, left:right] |= alpha[..., 0] > 0.5
    return to_uint8(out), float(covered.mean())
