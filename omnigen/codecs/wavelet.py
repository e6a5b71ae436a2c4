"""The `wavelet` codec: a fixed CDF 9/7 wavelet transform of three levels; it needs no weights and shows no blocks."""

from __future__ import annotations

import hashlib
import math
import re
from functools import cached_property, lru_cache
from typing import Self

import torch
from torch import Tensor

from omnigen.codecs.dct import YCBCR
from omnigen.codecs.wavelet_table import STANDARD_DEVIATIONS
from x2i.errors import UserError
from x2i.sample import canonical_json

DEFAULT_COUNTS = (16, 4, 4)
LEVELS = 3
LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
"""Weights of the four lifting steps of CDF 9/7 (Daubechies and Sweldens, 1998): odd, even, odd, even samples."""
LOW_SCALE = math.sqrt(2) / 1.230174104914001  # a constant gains the square root of 2, as an orthonormal wavelet's does
WAVELET_VERSION = 1  # to be raised by whoever changes what the transform gives


class WaveletCodec:
    """The CDF 9/7 wavelet transform (as JPEG 2000's) of three levels in YCbCr, coarse subbands kept, no weights.

    Y, Cb, Cr are BT.601's, full range, of an image in [-1, 1]; borders are mirrored. A plane has 64 numbers for every
    8 x 8 pixels: 1 of the coarse picture and 3 details of level 3, 12 of level 2, 48 of level 1. `wavelet:Y+CB+CR`
    keeps the first so many of each plane: 4+1+1 is the whole of level 3 in luma, 16+4+4 adds level 2; 64+64+64 loses
    nothing.
    Channel order: Y's numbers, Cb's, Cr's. Each is divided by its band's fixed standard deviation over photographs
    (`wavelet_table.py`). The work grows with the third power of the side, which is little up to 512 pixels.
    """

    title = "fixed CDF 9/7 wavelet transform of three levels, no weights"
    downsample = 2**LEVELS

    def __init__(self, counts: tuple[int, int, int] = DEFAULT_COUNTS) -> None:
        self.counts = counts
        self.channels = self.posterior_channels = sum(counts)
        self.name = f"wavelet:{'+'.join(map(str, counts))}"
        self._kept = torch.cat([64 * plane + torch.arange(count) for plane, count in enumerate(counts)])
        self._deviation_C = deviations()[self._kept]

    @classmethod
    def open(cls, argument: str, device: torch.device | str = "cpu") -> Self:
        """Returns the transform with `argument` numbers kept, as 4+1+1; it computes where its input is."""
        return cls(_counts(argument))

    @classmethod
    def channels_of(cls, argument: str) -> int:
        return sum(_counts(argument))

    @cached_property
    def fingerprint(self) -> str:
        identity = ["wavelet", WAVELET_VERSION, list(self.counts), [list(row) for row in STANDARD_DEVIATIONS]]
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()

    def to(self, device: torch.device | str) -> WaveletCodec:
        return self

    def posterior(self, images_BCHW: Tensor) -> Tensor:
        """Returns the latents themselves: nothing is random."""
        height, width = images_BCHW.shape[-2:]
        assert height % 8 == width % 8 == 0, f"image sides must be multiples of 8, found {height} x {width}"
        coarse = torch.einsum("pc,bchw->bphw", YCBCR.to(images_BCHW.device), images_BCHW.float())
        details: list[Tensor] = []
        for _ in range(LEVELS):
            rows, columns = (analysis(side).to(coarse) for side in coarse.shape[-2:])
            bands = rows @ coarse @ columns.mT
            (coarse, right), (below, diagonal) = (half.chunk(2, -1) for half in bands.chunk(2, -2))
            details.insert(0, _fold(torch.stack([right, below, diagonal], 2), height // 8))
        numbers = torch.cat([coarse.unsqueeze(2), *details], 2).flatten(1, 2)
        device = numbers.device
        return numbers[:, self._kept.to(device)] / self._deviation_C.to(device)[:, None, None]

    def sample(self, posterior_BPHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return posterior_BPHW.float()

    def encode(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(self.posterior(images_BCHW), generator)

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        batch, _, height, width = latents_BCHW.shape
        device = latents_BCHW.device
        numbers = torch.zeros(batch, 192, height, width, device=device)
        numbers[:, self._kept.to(device)] = latents_BCHW.float() * self._deviation_C.to(device)[:, None, None]
        coarse, *details = numbers.unflatten(1, (3, 64)).split([1, 3, 12, 48], 2)
        coarse = coarse.squeeze(2)
        for folded in details:
            right, below, diagonal = _unfold(folded).unbind(2)
            bands = torch.cat([torch.cat([coarse, right], -1), torch.cat([below, diagonal], -1)], -2)
            rows, columns = (synthesis(side).to(bands) for side in bands.shape[-2:])
            coarse = rows @ bands @ columns.mT
        return torch.einsum("cp,bphw->bchw", torch.linalg.inv(YCBCR).to(device), coarse).clamp(-1, 1)


@lru_cache(maxsize=64)
def analysis(side: int) -> Tensor:
    """Returns the matrix (side, side) of one level of CDF 9/7 over a line: first the low-pass rows, then the high-pass.

    side: even.
    """
    even, odd = torch.eye(side, dtype=torch.float64).unflatten(0, (-1, 2)).unbind(1)
    for number, weight in enumerate(LIFTING):
        if number % 2 == 0:
            odd = odd + weight * (even + torch.cat([even[1:], even[-1:]]))
        else:
            even = even + weight * (odd + torch.cat([odd[:1], odd[:-1]]))
    return torch.cat([even * LOW_SCALE, odd / LOW_SCALE])


@lru_cache(maxsize=64)
def synthesis(side: int) -> Tensor:
    """Returns the inverse of `analysis(side)`."""
    return torch.linalg.inv(analysis(side))


def deviations() -> Tensor:
    """Returns the standard deviation of each of the 192 numbers: a band's holds for all numbers of the band."""
    numbers_a_band = torch.tensor([1, *(4**level for level in range(LEVELS) for _ in range(3))])
    return torch.tensor(STANDARD_DEVIATIONS).repeat_interleave(numbers_a_band, 1).flatten()


def _counts(argument: str) -> tuple[int, int, int]:
    if not argument:
        return DEFAULT_COUNTS
    found = re.fullmatch(r"(\d{1,2})\+(\d{1,2})\+(\d{1,2})", argument, re.ASCII)
    luma, blue, red = (int(text) for text in found.groups()) if found else (0, 0, 0)
    if not all(1 <= count <= 64 for count in (luma, blue, red)):
        raise UserError(
            f"codec 'wavelet:{argument}': expected how many numbers each of Y, Cb and Cr keeps, from 1 to 64, as in "
            f"wavelet:4+1+1 or wavelet:16+4+4"
        )
    return luma, blue, red


def _fold(bands: Tensor, height: int) -> Tensor:
    """Returns bands (B, P, 3, k * height, k * width) as numbers (B, P, 3 * k * k, height, width)."""
    k = bands.shape[-2] // height
    tiles = bands.unflatten(-1, (-1, k)).unflatten(-3, (-1, k))  # B, P, 3, height, k, width, k
    return tiles.permute(0, 1, 2, 4, 6, 3, 5).flatten(2, 4)


def _unfold(numbers: Tensor) -> Tensor:
    """Returns what `_fold` was given."""
    k = math.isqrt(numbers.shape[2] // 3)
    tiles = numbers.unflatten(2, (3, k, k))  # B, P, 3, k, k, height, width
    return tiles.permute(0, 1, 2, 5, 3, 6, 4).flatten(3, 4).flatten(4, 5)
