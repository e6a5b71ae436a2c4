"""The block's element-wise operations, each with its backward written out.

Autograd would keep a tensor of every small step and join the gradients of parts by copying. Here parts of a fused
projection are read and written where they stand: fewer passes over memory, and less of it kept for the backward pass.

Suffixes: T tokens, H heads, D head dimensions, E hidden size, F feed-forward size.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnigen.network.rope import Rotation, rotate, rotate_plainly


def split_and_rotate(qkv_TX: Tensor, angles: Rotation, head_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts a fused projection (T, 3 H D) into queries, keys and values (T, H, D), queries and keys rotated."""
    if torch.compiler.is_compiling():  # which fuses the plain form; torch 2.11 gives the other a wrong gradient
        q, k, v = qkv_TX.view(len(qkv_TX), 3, -1, head_dim).unbind(1)
        return rotate_plainly(q, angles), rotate_plainly(k, angles), v.contiguous()
    return SplitAndRotate.apply(qkv_TX, angles.cos, angles.sin, head_dim)  # type: ignore[no-any-return]


def swiglu(gate_up_TX: Tensor) -> Tensor:
    """Returns silu(gate) * up of a fused projection (T, 2 F), whose first half is the gate: (T, F)."""
    if torch.compiler.is_compiling():  # which fuses the plain form, and cannot write into halves
        gate, up = gate_up_TX.chunk(2, dim=-1)
        return F.silu(gate) * up
    return SwiGLU.apply(gate_up_TX)  # type: ignore[no-any-return]


class RMSNorm(nn.RMSNorm):
    """torch's RMSNorm, which has no kernel of its own on the CPU: there it is ten passes, here four. What comes out has
    the dtype of what goes in, under autocast too.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            return RootMeanSquare.apply(x, self.weight, self.eps)  # type: ignore[no-any-return]
        with torch.autocast(x.device.type, enabled=False):
            return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class SplitAndRotate(torch.autograd.Function):
    """Keeps nothing of the projection; the gradient of a rotation is the rotation by the opposite angle."""

    @staticmethod
    def forward(ctx: Any, qkv_TX: Tensor, cos: Tensor, sin: Tensor, head_dim: int) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        qkv_T3HD = qkv_TX.view(len(qkv_TX), 3, -1, head_dim)
        angles = Rotation(cos, sin)
        # The copy of v lets go of the projection, three times as large.
        return rotate(qkv_T3HD[:, 0], angles), rotate(qkv_T3HD[:, 1], angles), qkv_T3HD[:, 2].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        grad_q, grad_k, grad_v = grads
        back = Rotation(cos, -sin)
        return torch.stack((rotate(grad_q, back), rotate(grad_k, back), grad_v), dim=1).flatten(1), None, None, None


class SwiGLU(torch.autograd.Function):
    """Keeps the projection alone, and computes silu(gate) again."""

    @staticmethod
    def forward(ctx: Any, gate_up_TX: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_TX)
        gate, up = gate_up_TX.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad_TF: Tensor) -> Tensor:
        (gate_up_TX,) = ctx.saved_tensors
        gate, up = gate_up_TX.chunk(2, dim=-1)
        grad_TX = torch.empty_like(gate_up_TX)
        grad_gate, grad_up = grad_TX.chunk(2, dim=-1)
        silu = F.silu(gate)
        torch.mul(grad_TF, silu, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad_TF * up, gate, grad_input=grad_gate)
        return grad_TX


class RootMeanSquare(torch.autograd.Function):
    """x / rms(x) * weight over the last axis, computed in float32 at least; keeps x and one number a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_E: Tensor, eps: float) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype).square_()
        scale = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight_E, scale)
        return (x * scale).mul_(weight_E).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight_E, scale = ctx.saved_tensors
        normed = x * scale
        grad_weight = (grad * normed).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        grad_normed = grad * weight_E.to(scale.dtype)
        mean = torch.linalg.vecdot(grad_normed, normed).unsqueeze(-1).div_(x.shape[-1])
        return grad_normed.sub_(normed.mul_(mean)).mul_(scale).to(x.dtype), grad_weight, None
