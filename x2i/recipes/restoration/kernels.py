"""Blur kernels: Gaussian, disc, path and generalized Gaussian, and how they are applied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x2i.recipes.base import RgbImage

Kernel = NDArray[np.float32]
"""Square, of odd side, values sum to 1."""


def convolve(image: NDArray, kernel: Kernel) -> NDArray:
    """Returns `image` (any depth) after `kernel`, mirrored at its borders."""
    import cv2

    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def gaussian_blur(image: RgbImage, sigma: float) -> RgbImage:
    """Returns `image` after a Gaussian of `sigma` pixels; unchanged for sigma 0."""
    import cv2

    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma > 0 else image.copy()


def disc_kernel(radius: float) -> Kernel:
    """Returns the kernel_KK of a lens out of focus: a disc of `radius` pixels with a soft border of one pixel."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return kernel / kernel.sum()


def path_kernel(x: NDArray, y: NDArray, radius: int, weights: NDArray | None = None) -> Kernel:
    """Returns the kernel_KK, K = 2 * radius + 1, of a point that moves through the places (x, y), in pixels from 0, 0.

    weights: how long it stays at each place. Places outside count for the nearest border.
    """
    x, y = radius + np.asarray(x), radius + np.asarray(y)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):  # bilinear: each place falls on four pixels
        column = np.clip(np.floor(x).astype(int) + dx, 0, 2 * radius)
        row = np.clip(np.floor(y).astype(int) + dy, 0, 2 * radius)
        share = np.abs(1 - dx - (x - np.floor(x))) * np.abs(1 - dy - (y - np.floor(y)))
        np.add.at(kernel, (row, column), share if weights is None else share * weights)
    return kernel / kernel.sum()


def generalized_kernel(
    size: int, sigma_x: float, sigma_y: float, angle: float, beta: float = 1.0, plateau: bool = False
) -> Kernel:
    """Returns a kernel_KK that falls with d, the squared distance in sigmas: as exp(-d^beta / 2), or 1 / (1 + d^beta).

    size: K, odd. angle: of the first axis in radians. plateau: the second form, flat around the middle. beta 1 without
    plateau is the Gaussian.
    """
    reach = size // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    distance = ((u / sigma_x) ** 2 + (v / sigma_y) ** 2) ** beta
    kernel = 1 / (1 + distance) if plateau else np.exp(-distance / 2)
    return (kernel / kernel.sum()).astype(np.float32)


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Returns the kernel_KK of an ideal round low-pass filter, cut to `size`; it rings.

    cutoff: in radians a pixel, up to pi.
    """
    from scipy.special import j1

    reach = size // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    radius = np.hypot(x, y)
    radius[reach, reach] = 1
    kernel = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[reach, reach] = cutoff**2 / (4 * np.pi)
    return (kernel / kernel.sum()).astype(np.float32)
