"""What goes into the decoder and what comes out of it: patches, positions, time, and the final layer (as in DiT)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnigen.network.layout import Grid

TIME_FREQUENCIES = 256
POSITION_BASE = 64


class PatchEmbed(nn.Module):
    """A convolution whose stride is its kernel, kept under the official name, applied as one matrix product.

    Images of all sizes in a pack go through together.
    """

    def __init__(self, in_channels: int, hidden_size: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, hidden_size, kernel_size=patch_size, stride=patch_size)

    def forward(self, latents_CHW: Sequence[Tensor]) -> Tensor:
        """Returns the tokens of all images, concatenated, row by row: (N, hidden_size)."""
        weight, bias = self.proj.weight.flatten(1), self.proj.bias
        # A pack without images still goes through, so that every parameter has a gradient on every rank.
        none = weight.new_empty(0, weight.shape[1])
        patches = torch.cat([none, *(patchify(latent, self.proj.stride[0]).to(weight.dtype) for latent in latents_CHW)])
        return F.linear(patches, weight, bias)


class TimestepEmbedder(nn.Module):
    """A timestep in [0, 1] as a vector: 128 cosines, 128 sines, then a two-layer network. t is not scaled."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(TIME_FREQUENCIES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )

    def forward(self, timesteps_S: Tensor) -> Tensor:
        half = TIME_FREQUENCIES // 2
        exponent = torch.arange(half, device=timesteps_S.device, dtype=torch.float32) / half
        angle = timesteps_S.float()[:, None] * torch.exp(-math.log(10000) * exponent)
        wave = torch.cat([angle.cos(), angle.sin()], dim=-1)
        out: Tensor = self.mlp(wave.to(next(self.mlp.parameters()).dtype))
        return out


class FinalLayer(nn.Module):
    """Normalizes, shifts and scales noisy tokens by time, and projects each to the velocity of its patch."""

    def __init__(self, hidden_size: int, patch_size: int, out_channels: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(hidden_size, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(hidden_size, patch_size * patch_size * out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 2 * hidden_size))

    def forward(self, x_NE: Tensor, time_SE: Tensor, sample_N: Tensor) -> Tensor:
        """x_NE: noisy tokens. time_SE: time vectors. sample_N: which sample a token is of. Returns (N, p * p * C)."""
        shift, scale = self.adaLN_modulation(time_SE)[sample_N].chunk(2, dim=-1)
        out: Tensor = self.linear(self.norm_final(x_NE) * (1 + scale) + shift)
        return out


def patchify(latent_CHW: Tensor, patch: int) -> Tensor:
    """Returns the patches of a latent image row by row, each in (channel, row, column) order: (N, C * patch^2)."""
    channels, height, width = latent_CHW.shape
    blocks = latent_CHW.reshape(channels, height // patch, patch, width // patch, patch)
    return blocks.permute(1, 3, 0, 2, 4).reshape(-1, channels * patch * patch)


def unpatchify(tokens_NP: Tensor, grid: Grid, patch: int) -> Tensor:
    """Returns the latent image (C, H, W) of tokens that hold their values in (row, column, channel) order."""
    blocks = tokens_NP.reshape(grid.rows, grid.columns, patch, patch, -1)
    return blocks.permute(4, 0, 2, 1, 3).flatten(3).flatten(1, 2)


def position_table(hidden_size: int, max_size: int, device: torch.device | str | None = None) -> Tensor:
    """Returns the fixed 2-D table (1, max_size^2, hidden_size), first half from the column, second from the row.

    Each half is sines, then cosines, of a coordinate that spans [0, 64): index / 3 for the official 192 positions.
    """
    coordinate = torch.arange(max_size, device=device, dtype=torch.float32) / (max_size / POSITION_BASE)
    quarter = hidden_size // 4
    frequency = 1.0 / 10000 ** (torch.arange(quarter, device=device, dtype=torch.float64) / quarter)
    angle = coordinate.double()[:, None] * frequency
    wave = torch.cat([angle.sin(), angle.cos()], dim=-1).float()
    by_column = wave[None, :].expand(max_size, -1, -1)
    by_row = wave[:, None].expand(-1, max_size, -1)
    return torch.cat([by_column, by_row], dim=-1).flatten(0, 1)[None]


def crop_positions(table_1PE: Tensor, grid: Grid) -> Tensor:
    """Returns the center of the position table, (rows * columns, hidden_size): what an image of that size adds."""
    side = math.isqrt(table_1PE.shape[1])
    assert max(grid) <= side, f"an image of {grid.rows} x {grid.columns} tokens; the position table has {side} a side"
    top, left = (side - grid.rows) // 2, (side - grid.columns) // 2
    table = table_1PE.view(side, side, -1)
    return table[top : top + grid.rows, left : left + grid.columns].flatten(0, 1)
