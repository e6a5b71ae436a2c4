"""The implementations of attention agree with each other and with the definition of the mask."""

from __future__ import annotations

import pytest
import torch

from omnigen.attention import attention, flex_block_mask
from omnigen.layout import PackLayout
from x2i.errors import UserError

from .tiny import SAMPLES, sample


def random_qkv(length: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(length, 3, 8, dtype=dtype, generator=generator).requires_grad_() for _ in range(3)]


def test_segment_equals_dense_forward_and_backward() -> None:
    layout = PackLayout.build(SAMPLES)
    results = []
    for implementation in ("segment", "dense"):
        qkv = random_qkv(layout.num_tokens)
        out = attention(*qkv, layout, implementation)
        (out * torch.arange(out.numel()).view_as(out).sin()).sum().backward()
        results.append([out, *(x.grad for x in qkv)])
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*results))


def test_dense_equals_softmax_written_out() -> None:
    layout = PackLayout.build(SAMPLES[:2])
    q, k, v = random_qkv(layout.num_tokens)
    out = attention(q, k, v, layout, "dense")
    for i in (0, 7, layout.num_tokens - 1):
        lo, hi = int(layout.lo_T[i]), int(layout.hi_T[i])
        weights = torch.einsum("hd,khd->hk", q[i], k[lo:hi]).div(8**0.5).softmax(-1)
        assert torch.allclose(out[i], torch.einsum("hk,khd->hd", weights, v[lo:hi]))


@pytest.mark.parametrize("block", [8, 16, 128])
def test_the_block_mask_covers_exactly_what_lo_and_hi_allow(block: int) -> None:
    layout = PackLayout.build((*SAMPLES, sample((30, 2), ((8, 9),), (12, 12)), *SAMPLES))
    mask = flex_block_mask(layout, block)
    length = layout.num_tokens
    seen = torch.zeros(length, length, dtype=torch.bool)
    position = torch.arange(length)
    allowed = (position >= layout.lo_T[:, None]) & (position < layout.hi_T[:, None])
    for row in range(mask.kv_num_blocks.shape[-1]):
        rows = slice(row * block, (row + 1) * block)
        for column in mask.kv_indices[0, 0, row, : mask.kv_num_blocks[0, 0, row]].tolist():
            columns = slice(column * block, (column + 1) * block)
            query, key = position[rows][:, None], position[columns][None]
            seen[rows, columns] = mask.mask_mod(torch.tensor(0), torch.tensor(0), query, key)
        for column in mask.full_kv_indices[0, 0, row, : mask.full_kv_num_blocks[0, 0, row]].tolist():
            seen[rows, column * block : (column + 1) * block] = True
    assert torch.equal(seen, allowed)
    if block == 8:
        assert int(mask.full_kv_num_blocks.sum()) > 0
        assert int(mask.kv_num_blocks.sum() + mask.full_kv_num_blocks.sum()) < mask.kv_indices.shape[-1] ** 2 / 2


def test_an_unknown_implementation_is_a_user_error() -> None:
    layout = PackLayout.build(SAMPLES[:1])
    with pytest.raises(UserError, match="segment, dense, flex"):
        attention(*random_qkv(layout.num_tokens), layout, "flash")


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
def test_flex_without_cuda_says_what_to_use() -> None:
    layout = PackLayout.build(SAMPLES[:1])
    with pytest.raises(UserError, match="use 'segment'"):
        attention(*random_qkv(layout.num_tokens), layout, "flex")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_flex_equals_dense_forward_and_backward() -> None:
    layout = PackLayout.build((*SAMPLES, sample((30, 2), ((8, 9),), (12, 12)))).to("cuda")
    results = []
    for implementation in ("flex", "dense"):
        generator = torch.Generator("cuda").manual_seed(0)
        shape = (layout.num_tokens, 2, 96)
        qkv = [torch.randn(shape, device="cuda", generator=generator).requires_grad_() for _ in range(3)]
        out = attention(*qkv, layout, implementation)
        out.square().sum().backward()
        results.append([out, *(x.grad for x in qkv)])
    assert all(torch.allclose(a, b, atol=2e-3) for a, b in zip(*results))
