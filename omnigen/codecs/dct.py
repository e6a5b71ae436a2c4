"""The `dct` codec: a fixed block cosine transform, so that a laptop can train without any weights of others."""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from omnigen.codecs.dct_table import STANDARD_DEVIATIONS
from x2i.errors import UserError
from x2i.sample import canonical_json

DEFAULT_DCT_CHANNELS = 48
DCT_VERSION = 1  # to be raised by whoever changes what the transform gives
YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.299 / 1.772, -0.587 / 1.772, 0.5], [0.5, -0.587 / 1.402, -0.114 / 1.402]]
)
"""BT.601's luma and chroma, full range: the rows Y, Cb, Cr over the columns R, G, B."""


class DctCodec:
    """The orthonormal 8 x 8 block cosine transform (as JPEG's) in YCbCr, low frequencies kept, no weights.

    Y, Cb, Cr are BT.601's, full range, of an image in [-1, 1]. Of each plane's 64 coefficients the first ones in zigzag
    order stay: with n channels max(1, n // 16) for each of Cb and Cr (more once Y is complete), the rest for Y.
    Channel order: Y's coefficients, Cb's, Cr's. Each coefficient is divided by its fixed standard deviation over
    photographs (`dct_table.py`), so photographs' latents have about unit variance. 192 channels lose nothing.
    """

    title = "fixed 8 x 8 block cosine transform, no weights"
    downsample = 8

    def __init__(self, channels: int = DEFAULT_DCT_CHANNELS) -> None:
        self.channels = self.posterior_channels = channels
        self.name = f"dct:{channels}"
        # Coefficient j of plane p is number 64 p + j of all 192.
        kept = [64 * plane + j for plane, count in enumerate(dct_split(channels)) for j in range(count)]
        self._kept = torch.tensor(kept)
        self._deviation_C = torch.tensor(STANDARD_DEVIATIONS).flatten()[self._kept]
        self._basis = _zigzag_basis()

    @classmethod
    def open(cls, argument: str, device: torch.device | str = "cpu") -> Self:
        """Returns the transform with `argument` channels, 48 by default; it computes where its input is."""
        return cls(cls.channels_of(argument))

    @classmethod
    def channels_of(cls, argument: str) -> int:
        if argument and not argument.isdecimal():
            raise UserError(f"codec 'dct:{argument}': expected a number of channels after the colon, as in dct:24")
        channels = int(argument) if argument else DEFAULT_DCT_CHANNELS
        if not 3 <= channels <= 192:
            raise UserError(f"codec 'dct:{channels}': expected 3 to 192 channels, such as dct:{DEFAULT_DCT_CHANNELS}")
        return channels

    @cached_property
    def fingerprint(self) -> str:
        identity = ["dct", DCT_VERSION, self.channels, [list(row) for row in STANDARD_DEVIATIONS]]
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()

    def to(self, device: torch.device | str) -> DctCodec:
        return self

    def posterior(self, images_BCHW: Tensor) -> Tensor:
        """Returns the latents themselves: nothing is random."""
        batch, _, height, width = images_BCHW.shape
        assert height % 8 == width % 8 == 0, f"image sides must be multiples of 8, found {height} x {width}"
        device = images_BCHW.device
        planes = torch.einsum("pc,bchw->bphw", YCBCR.to(device), images_BCHW.float())
        blocks = planes.reshape(batch, 3, height // 8, 8, width // 8, 8)
        coefficients = torch.einsum("jyx,bpryqx->bpjrq", self._basis.to(device), blocks)
        kept = coefficients.reshape(batch, 192, height // 8, width // 8)[:, self._kept.to(device)]
        return kept / self._deviation_C.to(device)[:, None, None]

    def sample(self, posterior_BPHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return posterior_BPHW.float()

    def encode(self, images_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(self.posterior(images_BCHW), generator)

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        batch, _, rows, columns = latents_BCHW.shape
        device = latents_BCHW.device
        coefficients = torch.zeros(batch, 192, rows, columns, device=device)
        coefficients[:, self._kept.to(device)] = latents_BCHW.float() * self._deviation_C.to(device)[:, None, None]
        coefficients = coefficients.view(batch, 3, 64, rows, columns)
        blocks = torch.einsum("jyx,bpjrq->bpryqx", self._basis.to(device), coefficients)
        planes = blocks.reshape(batch, 3, rows * 8, columns * 8)
        return torch.einsum("cp,bphw->bchw", torch.linalg.inv(YCBCR).to(device), planes).clamp(-1, 1)


def dct_split(channels: int) -> tuple[int, int, int]:
    """Returns how many of `channels` coefficients the planes Y, Cb and Cr keep; 48 become 42, 3 and 3."""
    chroma = max(1, channels // 16, (channels - 64 + 1) // 2)
    return channels - 2 * chroma, chroma, chroma


def zigzag() -> list[tuple[int, int]]:
    """Returns the (vertical, horizontal) frequencies of an 8 x 8 block in JPEG's order (ITU-T T.81, figure 5)."""
    cells = [(v, h) for v in range(8) for h in range(8)]
    return sorted(cells, key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))


def _zigzag_basis() -> Tensor:
    """Returns the 64 orthonormal cosine patterns (j, y, x) in zigzag order."""
    position = torch.arange(8, dtype=torch.float64)
    cosines = torch.cos(math.pi * (2 * position[None, :] + 1) * position[:, None] / 16) / 2
    cosines[0] /= math.sqrt(2)
    return torch.stack([cosines[v, :, None] * cosines[h, None, :] for v, h in zigzag()]).float()
