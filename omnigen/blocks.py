"""One layer of the decoder: Phi-3's block (pre-norm, fused qkv, fused gate and up), with attention handed in."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from omnigen.attention import Attention
from omnigen.config import ModelConfig
from omnigen.rope import Rotation, rotate


class SelfAttention(nn.Module):
    """Projections around an attention that is handed in; the rows of `qkv_proj` are q, then k, then v."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x_TE: Tensor, angles: Rotation, attend: Attention) -> Tensor:
        q_THD, k_THD, v_THD = (x.unflatten(-1, (-1, self.head_dim)) for x in self.qkv_proj(x_TE).chunk(3, dim=-1))
        attended_THD = attend(rotate(q_THD, angles), rotate(k_THD, angles), v_THD)
        out: Tensor = self.o_proj(attended_THD.flatten(1))
        return out


class FeedForward(nn.Module):
    """SwiGLU; the rows of `gate_up_proj` are the gate, then the values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_TE: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x_TE).chunk(2, dim=-1)
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); tokens of a pack (T, E) in and out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x_TE: Tensor, angles: Rotation, attend: Attention) -> Tensor:
        x_TE = x_TE + self.self_attn(self.input_layernorm(x_TE), angles, attend)
        out: Tensor = x_TE + self.mlp(self.post_attention_layernorm(x_TE))
        return out
