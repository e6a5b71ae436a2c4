"""Shrinking grey pixels by Lanczos in Pillow's own fixed-point arithmetic, as exact matrix products."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

_PRECISION_BITS = 22
"""Pillow rounds each weight to a multiple of 2**-22, sums 8-bit pixels in integers, and rounds after each pass."""
_LOBES = 3
_COLUMNS = 8
"""Output columns per product: few, so that little of the band's empty corners is multiplied."""
_BLOCK = 65536
"""Pixels that are turned into floats at once: few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class _Band:
    """Weights of the outputs from `column` on, for the inputs from `start` on: high * 2**shift + low, side by side in
    one matrix (inputs, 2 * outputs). Split so, their products with 8-bit pixels sum to integers that its type holds.
    """

    column: int
    start: int
    weights: np.ndarray


def lanczos(grey: np.ndarray, side: int) -> np.ndarray:
    """Returns uint8 `grey` (height, width) scaled to (side, side), bit for bit as the LANCZOS resize of Pillow 13 does.

    Every product and sum is an integer that its float type holds exactly, so the order of summing does not matter.
    """
    height, width = grey.shape
    # Pillow rounds between its passes, so their order shows: it shrinks the height first if much more of it goes.
    if height - side > 2 * (width - side) and height > side:
        return _pass(_pass(grey.T, side).T, side)
    return _pass(_pass(grey, side).T, side).T


def _pass(grey: np.ndarray, side: int) -> np.ndarray:
    """Scales the last axis of (rows, n) uint8 to `side`."""
    if grey.shape[1] == side:
        return grey
    shift, bands = _bands(grey.shape[1], side)
    high, low = np.empty((2, grey.shape[0], side), bands[0].weights.dtype)
    rows = max(1, _BLOCK // grey.shape[1])
    for top in range(0, len(grey), rows):
        block = slice(top, top + rows)
        pixels = grey[block].astype(high.dtype)
        for band in bands:
            both = pixels[:, band.start : band.start + len(band.weights)] @ band.weights
            outputs = both.shape[1] // 2
            high[block, band.column : band.column + outputs] = both[:, :outputs]
            low[block, band.column : band.column + outputs] = both[:, outputs:]
    sums = high.astype(np.float64) * (1 << shift)
    sums += low
    sums += 2.0 ** (_PRECISION_BITS - 1)
    sums *= 2.0**-_PRECISION_BITS
    np.floor(sums, out=sums)
    np.maximum(sums, 0, out=sums)
    return np.minimum(sums, 255, out=sums).astype(np.uint8)


@functools.lru_cache(maxsize=512)
def _bands(size: int, side: int) -> tuple[int, tuple[_Band, ...]]:
    """Returns the shift and the weights that take `size` pixels to `side`."""
    fixed, first, last = _fixed_weights(size, side)
    shift = next((shift for shift in range(12, 4, -1) if _fits_float32(fixed, shift)), None)
    bands = []
    for column in range(0, side, _COLUMNS):
        group = range(column, min(side, column + _COLUMNS))
        start, stop = int(first[group].min()), int(last[group].max())
        weights = np.zeros((stop - start, len(group)))
        for index, output in enumerate(group):
            offset, length = int(first[output]) - start, int(last[output] - first[output])
            weights[offset : offset + length, index] = fixed[output, :length]
        both = np.concatenate(_split(weights, shift or 0), axis=1)
        bands.append(_Band(column, start, both.astype(np.float64 if shift is None else np.float32)))
    return shift or 0, tuple(bands)


def _fixed_weights(size: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns integer weights (outputs, taps), and the first input and the one after the last of each output."""
    scale = size / side
    stretch = max(scale, 1.0)
    support = _LOBES * stretch
    centre = (np.arange(side) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), size)
    taps = first[:, None] + np.arange(int((last - first).max()))
    x = (taps - centre[:, None] + 0.5) * (1.0 / stretch)
    inside = (taps < last[:, None]) & (x >= -_LOBES) & (x < _LOBES)
    weight = np.where(inside, np.sinc(x) * np.sinc(x / _LOBES), 0.0)
    weight = weight / np.cumsum(weight, axis=1)[:, -1:]
    return np.trunc(weight * (1 << _PRECISION_BITS) + np.where(weight < 0, -0.5, 0.5)), first, last


def _split(weights: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    high = np.round(weights / (1 << shift))
    return high, weights - high * (1 << shift)


def _fits_float32(fixed: np.ndarray, shift: int) -> bool:
    return all(255 * np.abs(part).sum(axis=1).max() < 1 << 24 for part in _split(fixed, shift))
