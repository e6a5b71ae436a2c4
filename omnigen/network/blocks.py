"""One layer of the decoder: Phi-3's block (pre-norm, fused qkv, fused gate and up), with attention handed in.

A block is two functions of tokens with attention between them: everything of one kernel each when compiled, and the
second is what selective checkpointing computes again.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from omnigen.network.attention import Attention
from omnigen.network.config import ModelConfig
from omnigen.network.fused import RMSNorm, split_and_rotate, swiglu
from omnigen.network.recompiling import limit_recompiles
from omnigen.network.rope import Rotation

# What the backward pass computes again instead of keeping: nothing; what follows attention; the whole layer.
Checkpointing = Literal["none", "selective", "full"]


PIECE = 4096
"""Tokens that a CPU takes through what is around attention at once. What is written on the way stays small enough for
the allocator to keep and the cache to hold part of: a twelfth of the time of a step with 26,000 tokens.
"""


class SelfAttention(nn.Module):
    """Projections around an attention that is handed in; the rows of `qkv_proj` are q, then k, then v."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)


class FeedForward(nn.Module):
    """SwiGLU; the rows of `gate_up_proj` are the gate, then the values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_TE: Tensor) -> Tensor:
        out: Tensor = self.down_proj(swiglu(self.gate_up_proj(x_TE)))
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); tokens of a pack (T, E) in and out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self, x_TE: Tensor, angles: Rotation, attend: Attention, checkpointing: Checkpointing = "none"
    ) -> Tensor:
        out: Tensor
        if checkpointing == "full" and torch.is_grad_enabled():
            out = checkpoint(self._whole, x_TE, angles, attend, use_reentrant=False)
        elif checkpointing == "selective" and torch.is_grad_enabled():
            attended_THD = attend(*self._before(x_TE, angles))
            out = checkpoint(self._after, x_TE, attended_THD, use_reentrant=False)
        else:
            out = self._whole(x_TE, angles, attend)
        return out

    def before_attention(self, x_TE: Tensor, angles: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries, keys and values (T, H, D), rotated."""
        qkv_TX = self.self_attn.qkv_proj(self.input_layernorm(x_TE))
        return split_and_rotate(qkv_TX, angles, self.self_attn.head_dim)

    def after_attention(self, x_TE: Tensor, attended_THD: Tensor) -> Tensor:
        """Returns the layer's output from its input and what attention gave."""
        x_TE = x_TE + self.self_attn.o_proj(attended_THD.flatten(1))
        out: Tensor = x_TE + self.mlp(self.post_attention_layernorm(x_TE))
        return out

    def _whole(self, x_TE: Tensor, angles: Rotation, attend: Attention) -> Tensor:
        return self._after(x_TE, attend(*self._before(x_TE, angles)))

    def _before(self, x_TE: Tensor, angles: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        if not _is_long(x_TE):
            return self.before_attention(x_TE, angles)
        pieces = zip(*(torch.split(x, PIECE) for x in (x_TE, angles.cos, angles.sin)))
        q, k, v = zip(*(self.before_attention(x, Rotation(cos, sin)) for x, cos, sin in pieces))
        return torch.cat(q), torch.cat(k), torch.cat(v)

    def _after(self, x_TE: Tensor, attended_THD: Tensor) -> Tensor:
        if not _is_long(x_TE):
            return self.after_attention(x_TE, attended_THD)
        pieces = zip(torch.split(x_TE, PIECE), torch.split(attended_THD, PIECE))
        return torch.cat([self.after_attention(x, attended) for x, attended in pieces])


def _is_long(x_TE: Tensor) -> bool:
    return x_TE.device.type == "cpu" and len(x_TE) > PIECE


def compile_blocks(model: nn.Module) -> None:
    """Compiles every block of a network in place: one kernel graph before attention, one after, for all pack lengths.

    Attention stays outside, so that a pack's segments, which change with every pack, never lead to compiling again. All
    blocks share the two graphs. Parameters keep their names. Compile after wrapping (LoRA, sharding), before training.
    """
    limit_recompiles()
    for block in model.modules():
        if isinstance(block, Block):
            block.before_attention = torch.compile(block.before_attention, dynamic=True)  # type: ignore[method-assign]
            block.after_attention = torch.compile(block.after_attention, dynamic=True)  # type: ignore[method-assign]
