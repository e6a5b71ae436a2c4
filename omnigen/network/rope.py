"""Rotary positions along a sample (RoPE, arXiv 2104.09864) with LongRoPE's factors (arXiv 2402.13753), in float32."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from omnigen.device_copies import to_device
from omnigen.network.config import ModelConfig


class Rotation(NamedTuple):
    """cos and sin of every token's angles: float32 (T, 1, head_dim), the halves of the last axis equal."""

    cos: Tensor
    sin: Tensor

    def select(self, index: Tensor) -> Rotation:
        """Returns the rotation of the tokens at `index`."""
        return Rotation(self.cos[index], self.sin[index])


def rotation(config: ModelConfig, position_T: Tensor, sample_T: Tensor, length_S: Tensor, longest: int) -> Rotation:
    """Returns the rotation of every token of a pack.

    A sample of more than `original_max_position_embeddings` tokens takes the long factors, any other the short ones:
    the choice is per sample, so a sample does not depend on what it is packed with.

    position_T: position in the sample. sample_T: the token's sample. length_S: tokens of each sample. longest: their
    maximum, known without a look at the device.
    """
    device = position_T.device
    exponent = torch.arange(0, config.head_dim, 2, device=device).float() / config.head_dim
    period = config.rope_theta**exponent
    if config.rope_short_factors is None or config.rope_long_factors is None:
        frequency = 1.0 / period
        scaling = 1.0
    else:
        frequency = 1.0 / (to_device(torch.tensor(config.rope_short_factors), device) * period)
        scaling = attention_scaling(config)
        if longest > config.original_max_position_embeddings:
            long = 1.0 / (to_device(torch.tensor(config.rope_long_factors), device) * period)
            is_long_T = (length_S > config.original_max_position_embeddings)[sample_T]
            frequency = torch.where(is_long_T[:, None], long, frequency)
    angle = position_T.float()[:, None] * frequency
    angle = torch.cat((angle, angle), dim=-1)[:, None, :]
    return Rotation(angle.cos() * scaling, angle.sin() * scaling)


def attention_scaling(config: ModelConfig) -> float:
    """Returns what LongRoPE multiplies cos and sin by: 1.1902 for Phi-3's 4,096 and 131,072 positions."""
    ratio = config.max_position_embeddings / config.original_max_position_embeddings
    if ratio <= 1:
        return 1.0
    return math.sqrt(1 + math.log(ratio) / math.log(config.original_max_position_embeddings))


def rotate(x_THD: Tensor, angles: Rotation) -> Tensor:
    """Returns queries or keys turned by their token's angles: computed in float32, in the dtype of `x_THD`."""
    x = x_THD.float()
    turned = x * angles.cos
    half = x.shape[-1] // 2
    sin = angles.sin[..., :half]
    turned[..., :half].addcmul_(x[..., half:], sin, value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin)
    return turned.to(x_THD.dtype)


def rotate_plainly(x_THD: Tensor, angles: Rotation) -> Tensor:
    """Does what `rotate` does without writing into parts: what a compiler can fuse, and autograd differentiate."""
    x = x_THD.float()
    first, second = x.chunk(2, dim=-1)
    return (x * angles.cos + torch.cat((-second, first), dim=-1) * angles.sin).to(x_THD.dtype)
