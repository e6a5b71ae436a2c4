"""Attention over a pack: one mask, as `PackLayout` gives it, and five ways to compute the same thing.

`segment`: a plain scaled_dot_product_attention per segment on slices of the keys; any device, forward and backward.
`padded`: one call over all samples, each filled up to the longest; for many short ones, where calls cost the most.
`dense`: one call with the full boolean mask; the reference, quadratic in the pack.
`flex`: FlexAttention with a block mask made from the two vectors lo and hi; CUDA only.
`varlen`: torch's FlashAttention for sequences of many lengths, over keys gathered per segment; CUDA, half precision.
`auto`: `flex` on CUDA, `segment` elsewhere.

Suffixes: T tokens, H heads, D head dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from omnigen.device_copies import to_device
from omnigen.network.layout import PackLayout, Segment
from omnigen.network.recompiling import limit_recompiles
from x2i.errors import UserError

CUDA_ONLY = ("flex", "varlen")
FLEX_BLOCK = 128
# Hopper's copy engine: 9 percent off at 96 dimensions a head; torch leaves it out where there is none.
FLEX_OPTIONS: dict[str, Any] = {"USE_TMA": True}


class Attention(Protocol):
    """What a transformer block calls: queries, keys and values (T, H, D), rotated already; returns (T, H, D)."""

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor: ...


def attention(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, layout: PackLayout, implementation: str) -> Tensor:
    """Attends once under the mask of `layout`. Where many layers share it, call `plan_attention` once instead."""
    return plan_attention(layout, implementation)(q_THD, k_THD, v_THD)


def plan_attention(layout: PackLayout, implementation: str) -> Attention:
    """Returns attention under the mask of `layout`, its masks made once for all layers.

    implementation: one of `IMPLEMENTATIONS`, or `auto`. Raises UserError for any other, and for `flex` and `varlen`
    without CUDA.
    """
    if implementation == "auto":
        implementation = "flex" if layout.device.type == "cuda" else "segment"
    if implementation not in IMPLEMENTATIONS:
        raise UserError(
            f"attention {implementation!r}: no such implementation; expected auto, {', '.join(IMPLEMENTATIONS)}"
        )
    require_device(implementation, layout.device)
    return IMPLEMENTATIONS[implementation](layout)


def require_device(implementation: str, device: torch.device) -> None:
    """Raises UserError for `flex` and `varlen` without CUDA."""
    if implementation in CUDA_ONLY and device.type != "cuda":
        raise UserError(f"attention {implementation!r} runs on CUDA devices only; use 'segment'")


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


class PaddedAttention:
    """One call over all samples of the pack, each filled up to the length of the longest with tokens that none sees."""

    def __init__(self, layout: PackLayout) -> None:
        start_S = torch.tensor(layout.starts[:-1])
        length_S = torch.tensor(layout.starts[1:]) - start_S
        self._shape = len(length_S), int(length_S.max())
        place_L = torch.arange(self._shape[1])
        position_SL = start_S[:, None] + place_L
        # What stands past a sample's end repeats its last token, so that no query is without keys.
        last_S = start_S + length_S - 1
        kept = (place_L < length_S[:, None]).flatten().nonzero().squeeze(1)
        position_SL, index_SL, self._keep = (
            to_device(each, layout.device) for each in (position_SL, torch.minimum(position_SL, last_S[:, None]), kept)
        )
        lo, hi = layout.lo_T[index_SL], layout.hi_T[index_SL]
        key = position_SL[:, None, :]
        self._mask = ((key >= lo[..., None]) & (key < hi[..., None]))[:, None]
        self._fill = index_SL.flatten()

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        q, k, v = (
            x.index_select(0, self._fill).unflatten(0, self._shape).transpose(1, 2) for x in (q_THD, k_THD, v_THD)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._mask)
        return out.transpose(1, 2).flatten(0, 1).index_select(0, self._keep)


class DenseAttention:
    """One call over the whole pack with the full mask."""

    def __init__(self, layout: PackLayout) -> None:
        key = torch.arange(layout.num_tokens, device=layout.device)
        self._mask_TT = (key >= layout.lo_T[:, None]) & (key < layout.hi_T[:, None])

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        return sdpa(q_THD, k_THD, v_THD, self._mask_TT)


class FlexAttention:
    """FlexAttention, whose kernel skips every block of keys that no query of a block may see."""

    def __init__(self, layout: PackLayout, kernel_options: dict[str, Any] | None = None) -> None:
        self._mask = flex_block_mask(layout)
        self._kernel_options = FLEX_OPTIONS if kernel_options is None else kernel_options

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q_THD, k_THD, v_THD))
        out: Tensor = compiled_flex()(q, k, v, block_mask=self._mask, kernel_options=self._kernel_options)
        return out[0].transpose(0, 1)


@dataclass(frozen=True)
class SequenceGroup:
    """Segments of one kind as a batch of sequences, queries and keys each laid end to end.

    query_index, key_index: where they stand in the pack; a key stands in every sequence that sees it. query_ends,
    key_ends: int32, 0 and then the running totals of lengths. causal: query i of n sees not the last n - 1 - i keys.
    """

    query_index: Tensor
    key_index: Tensor
    query_ends: Tensor
    key_ends: Tensor
    longest_query: int
    longest_key: int
    causal: bool

    @classmethod
    def of(cls, layout: PackLayout, causal: bool) -> SequenceGroup | None:
        """Returns the causal, or the other, segments of a pack; None if it has none."""
        segments = [segment for segment in layout.segments if segment.causal == causal]
        if not segments:
            return None
        queries = torch.tensor([segment.query_end - segment.query_start for segment in segments])
        keys = torch.tensor([segment.key_hi - segment.key_lo for segment in segments])
        return cls(
            query_index=to_device(_runs([segment.query_start for segment in segments], queries), layout.device),
            key_index=to_device(_runs([segment.key_lo for segment in segments], keys), layout.device),
            query_ends=to_device(F.pad(queries.cumsum(0), (1, 0)).to(torch.int32), layout.device),
            key_ends=to_device(F.pad(keys.cumsum(0), (1, 0)).to(torch.int32), layout.device),
            longest_query=int(queries.max()),
            longest_key=int(keys.max()),
            causal=causal,
        )


class VarlenAttention:
    """Two calls of torch's variable-length FlashAttention: one for the causal segments, one for the images."""

    def __init__(self, layout: PackLayout) -> None:
        groups = (SequenceGroup.of(layout, causal) for causal in (True, False))
        self._groups = [group for group in groups if group is not None]

    def __call__(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.nn.attention.varlen import varlen_attn

        if q_THD.dtype not in (torch.bfloat16, torch.float16):
            raise UserError(f"attention 'varlen' takes bf16 or fp16, found {q_THD.dtype}; use 'flex' or 'segment'")
        # torch would prefer cuDNN on Hopper, whose kernel for ragged sequences was measured wrong and slow.
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            outputs: list[Any] = [
                varlen_attn(
                    q_THD[group.query_index],
                    k_THD[group.key_index],
                    v_THD[group.key_index],
                    group.query_ends,
                    group.key_ends,
                    group.longest_query,
                    group.longest_key,
                    window_size=(-1, 0) if group.causal else (-1, -1),
                )
                for group in self._groups
            ]
        index_T = torch.cat([group.query_index for group in self._groups])
        joined = torch.cat(outputs)
        return torch.empty_like(joined).index_copy(0, index_T, joined)


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
    "padded": PaddedAttention,
    "dense": DenseAttention,
    "flex": FlexAttention,
    "varlen": VarlenAttention,
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


def _runs(starts: Sequence[int], lengths: Tensor) -> Tensor:
    """Returns start, start + 1, ... for each run, all runs joined."""
    offsets = torch.tensor(starts) - F.pad(lengths.cumsum(0)[:-1], (1, 0))
    return torch.arange(int(lengths.sum())) + offsets.repeat_interleave(lengths)


@cache
def compiled_flex() -> Callable[..., Tensor]:
    """Returns FlexAttention compiled for all pack lengths; once for the process, or every pack would compile again."""
    from torch.nn.attention.flex_attention import flex_attention

    limit_recompiles()
    return torch.compile(flex_attention, dynamic=True)
