"""Shrinking gray pixels by Lanczos in Pillow's own fixed-point arithmetic, as exact matrix products."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

_PRECISION_BITS = 22
"""Pillow rounds each weight to a multiple of 2**-22, sums 8-bit pixels in integers, and rounds after each pass."""
_LOBES = 3
_COLUMNS = 8
"""Output columns per product: few, so that little of the band's empty corners is multiplied."""
_BLOCK = 1 << 18
"""Pixels that are turned into floats at once."""


@dataclass(frozen=True)
class _Band:
    """Weights (inputs, outputs) of the outputs from `column` on, for the inputs from `start` on."""

    column: int
    start: int
    weights: np.ndarray


def lanczos(gray: np.ndarray, side: int) -> np.ndarray:
    """Returns uint8 `gray` (height, width) scaled to (side, side), bit for bit as the LANCZOS resize of Pillow 13 does.

    Every product and sum is a multiple of 2**-22 that float64 holds exactly, so the order of summing does not matter.
    """
    height, width = gray.shape
    # Pillow rounds between its passes, so their order shows: it shrinks the height first if much more of it goes.
    if height - side > 2 * (width - side) and height > side:
        return _pass(_pass(gray.T, side).T, side)
    return _pass(_pass(gray, side).T, side).T


def _pass(gray: np.ndarray, side: int) -> np.ndarray:
    """Scales the last axis of (rows, n) uint8 to `side`."""
    if gray.shape[1] == side:
        return gray
    sums = np.empty((gray.shape[0], side))
    rows = max(1, _BLOCK // gray.shape[1])
    for top in range(0, len(gray), rows):
        block = slice(top, top + rows)
        pixels = gray[block].astype(np.float64)
        for band in _bands(gray.shape[1], side):
            inputs = slice(band.start, band.start + len(band.weights))
            outputs = slice(band.column, band.column + band.weights.shape[1])
            np.matmul(pixels[:, inputs], band.weights, out=sums[block, outputs])
    sums += 0.5
    np.floor(sums, out=sums)
    return np.clip(sums, 0, 255, out=sums).astype(np.uint8)


@functools.lru_cache(maxsize=512)
def _bands(size: int, side: int) -> tuple[_Band, ...]:
    """Returns the weights that take `size` pixels to `side`."""
    fixed, first, last = _fixed_weights(size, side)
    bands = []
    for column in range(0, side, _COLUMNS):
        group = range(column, min(side, column + _COLUMNS))
        start, stop = int(first[group].min()), int(last[group].max())
        weights = np.zeros((stop - start, len(group)))
        for index, output in enumerate(group):
            offset, length = int(first[output]) - start, int(last[output] - first[output])
            weights[offset : offset + length, index] = fixed[output, :length]
        bands.append(_Band(column, start, weights * 2.0**-_PRECISION_BITS))
    return tuple(bands)


def _fixed_weights(size: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns integer weights (outputs, taps), and the first input and the one after the last of each output."""
    scale = size / side
    stretch = max(scale, 1.0)
    support = _LOBES * stretch
    center = (np.arange(side) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    last = np.minimum((center + support + 0.5).astype(np.int64), size)
    taps = first[:, None] + np.arange(int((last - first).max()))
    x = (taps - center[:, None] + 0.5) * (1.0 / stretch)
    inside = (taps < last[:, None]) & (x >= -_LOBES) & (x < _LOBES)
    weight = np.where(inside, np.sinc(x) * np.sinc(x / _LOBES), 0.0)
    weight = weight / np.cumsum(weight, axis=1)[:, -1:]
    return np.trunc(weight * (1 << _PRECISION_BITS) + np.where(weight < 0, -0.5, 0.5)), first, last
