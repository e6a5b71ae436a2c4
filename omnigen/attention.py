"""Attention over a pack: one mask, as `PackLayout` gives it, and three ways to compute the same thing.

`segment`: a plain scaled_dot_product_attention per segment on slices of the keys; any device, forward and backward.
`dense`: one call with the full boolean mask; the reference, quadratic in the pack.
`flex`: FlexAttention with a block mask made from the two vectors lo and hi; CUDA only.

Suffixes: T tokens, H heads, D head dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from omnigen.layout import PackLayout, Segment
from x2i.errors import UserError

FLEX_BLOCK = 128


class Attention(Protocol):
    """What a transformer block calls: queries, keys and values (T, H, D), rotated already; returns (T, H, D)."""

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor: ...


def attention(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, layout: PackLayout, implementation: str) -> Tensor:
    """Attends once under the mask of `layout`. Where many layers share it, call `plan_attention` once instead."""
    return plan_attention(layout, implementation)(q_THD, k_THD, v_THD)


def plan_attention(layout: PackLayout, implementation: str) -> Attention:
    """Returns attention under the mask of `layout`, its masks made once for all layers.

    implementation: `segment`, `dense` or `flex`. Raises UserError for any other, and for flex without CUDA.
    """
    if implementation not in IMPLEMENTATIONS:
        raise UserError(f"attention {implementation!r}: no such implementation; expected {', '.join(IMPLEMENTATIONS)}")
    return IMPLEMENTATIONS[implementation](layout)


class SegmentAttention:
    """One plain attention call per segment of the pack.

    Keys are cut by sample first: the gradient of one cut into samples is one concatenation, while slices of the whole
    pack would each cost a zero-filled gradient as long as the pack.
    """

    def __init__(self, layout: PackLayout) -> None:
        self._lengths = [end - start for start, end in zip(layout.starts, layout.starts[1:])]
        by_start: dict[int, list[Segment]] = {start: [] for start in layout.starts[:-1]}
        for segment in layout.segments:
            by_start[segment.key_lo].append(segment)
        self._samples = [[_relative(segment, layout.device) for segment in group] for group in by_start.values()]

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        outputs = []
        parts = zip(self._samples, *(torch.split(x, self._lengths) for x in (q_THD, k_THD, v_THD)))
        for segments, q, k, v in parts:
            queries = torch.split(q, [count for count, _, _ in segments])
            for query, (_, num_keys, mask) in zip(queries, segments):
                whole = num_keys == k.shape[0]
                outputs.append(sdpa(query, k if whole else k[:num_keys], v if whole else v[:num_keys], mask))
        return torch.cat(outputs)


class DenseAttention:
    """One call over the whole pack with the full mask."""

    def __init__(self, layout: PackLayout) -> None:
        key = torch.arange(layout.num_tokens, device=layout.device)
        self._mask_TT = (key >= layout.lo_T[:, None]) & (key < layout.hi_T[:, None])

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        return sdpa(q_THD, k_THD, v_THD, self._mask_TT)


class FlexAttention:
    """FlexAttention, whose kernel skips every block of keys that no query of a block may see."""

    def __init__(self, layout: PackLayout) -> None:
        if layout.device.type != "cuda":
            raise UserError("attention 'flex' runs on CUDA devices only (it has no CPU backward); use 'segment'")
        self._mask = flex_block_mask(layout)
        self._flex = _compiled_flex()

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q_THD, k_THD, v_THD))
        out: Tensor = self._flex(q, k, v, block_mask=self._mask)
        return out[0].transpose(0, 1)


def flex_block_mask(layout: PackLayout, block: int = FLEX_BLOCK) -> Any:
    """Returns the pack's `BlockMask`, from the least and greatest lo and hi of every block of queries.

    A block of keys is full if every query of the block sees all of it, empty if none sees any, and otherwise partial:
    then the kernel asks lo and hi of each query. Costs (T / block)^2 comparisons, not T^2.
    """
    from torch.nn.attention.flex_attention import BlockMask

    length = layout.num_tokens
    num_blocks = -(-length // block)
    pad = num_blocks * block - length
    # Queries past the end see nothing; so a block that holds them is never full, and they are masked one by one.
    lo = F.pad(layout.lo_T, (0, pad), value=length)
    hi = F.pad(layout.hi_T, (0, pad), value=0)
    start = torch.arange(num_blocks, device=lo.device, dtype=torch.int32) * block
    end = (start + block).clamp(max=length)
    lo_B, hi_B = lo.view(num_blocks, block), hi.view(num_blocks, block)
    some = (lo_B.amin(1)[:, None] < end) & (hi_B.amax(1)[:, None] > start)
    full = (lo_B.amax(1)[:, None] <= start) & (hi_B.amin(1)[:, None] >= start + block)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= lo[query]) & (key < hi[query])

    partial_count, partial_order = _block_lists(some & ~full)
    full_count, full_order = _block_lists(full)
    return BlockMask.from_kv_blocks(
        partial_count, partial_order, full_count, full_order, block, sees, seq_lengths=(length, length)
    )


IMPLEMENTATIONS: dict[str, Callable[[PackLayout], Attention]] = {
    "segment": SegmentAttention,
    "dense": DenseAttention,
    "flex": FlexAttention,
}


def segment_mask(num_queries: int, num_keys: int, device: torch.device | str) -> Tensor:
    """Returns the causal mask (queries, keys) of queries that are the last of the keys; True: may see."""
    return torch.ones(num_queries, num_keys, dtype=torch.bool, device=device).tril(num_keys - num_queries)


def _relative(segment: Segment, device: torch.device) -> tuple[int, int, Tensor | str | None]:
    """Returns (queries, keys, mask) with keys counted from the sample's start; "causal": the kernel's own mask fits."""
    num_queries = segment.query_end - segment.query_start
    num_keys = segment.key_hi - segment.key_lo
    if not segment.causal:
        return num_queries, num_keys, None
    if num_queries == num_keys:
        return num_queries, num_keys, "causal"
    return num_queries, num_keys, segment_mask(num_queries, num_keys, device)


def sdpa(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, mask: Tensor | str | None = None) -> Tensor:
    """One plain attention call. mask: None, (queries, keys) with True where a query sees a key, or "causal"."""
    q, k, v = (x.transpose(0, 1)[None] for x in (q_THD, k_THD, v_THD))
    causal = isinstance(mask, str)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=None if isinstance(mask, str) else mask, is_causal=causal)
    return out[0].transpose(0, 1)


def _block_lists(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Returns how many are chosen in every row, and all indices, the chosen first, as BlockMask wants them."""
    order = chosen.to(torch.int8).argsort(dim=1, descending=True, stable=True).to(torch.int32)
    return chosen.sum(1, dtype=torch.int32)[None, None], order[None, None]


def _compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)
