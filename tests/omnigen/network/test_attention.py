"""The implementations of attention agree with each other and with the definition of the mask."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from omnigen.network.attention import (
    SegmentAttention,
    SequenceGroup,
    VarlenAttention,
    attention,
    compiled_flex,
    flex_block_mask,
    plan_attention,
    sdpa,
    segment_mask,
)
from omnigen.network.layout import PackLayout
from tests.support.tiny_network import SAMPLES, sample
from x2i.errors import UserError


def random_qkv(length: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(length, 3, 8, dtype=dtype, generator=generator).requires_grad_() for _ in range(3)]


@pytest.mark.parametrize("causal_images", [False, True])
@pytest.mark.parametrize("other", ["segment", "padded"])
def test_others_equal_dense_forward_and_backward(other: str, causal_images: bool) -> None:
    layout = PackLayout.build(SAMPLES)
    layout = layout.with_causal_images() if causal_images else layout
    results = []
    for implementation in (other, "dense"):
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
    with pytest.raises(UserError, match="auto, segment, padded, dense, flex, varlen"):
        attention(*random_qkv(layout.num_tokens), layout, "fast")


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
@pytest.mark.parametrize("implementation", ["flex", "varlen"])
def test_without_cuda_the_message_says_what_to_use(implementation: str) -> None:
    layout = PackLayout.build(SAMPLES[:1])
    with pytest.raises(UserError, match="use 'segment'"):
        attention(*random_qkv(layout.num_tokens), layout, implementation)


def test_auto_is_segment_on_the_cpu() -> None:
    assert isinstance(plan_attention(PackLayout.build(SAMPLES), "auto"), SegmentAttention)


def test_the_sequences_of_varlen_give_what_dense_gives() -> None:
    layout = PackLayout.build(SAMPLES)
    q, k, v = random_qkv(layout.num_tokens)
    found = torch.full_like(q, torch.nan)
    for causal in (True, False):
        group = SequenceGroup.of(layout, causal)
        assert group is not None
        queries_of, keys_of = (
            torch.split(index, ends.diff().tolist())
            for index, ends in ((group.query_index, group.query_ends), (group.key_index, group.key_ends))
        )
        for queries, keys in zip(queries_of, keys_of):
            assert len(queries) <= group.longest_query
            assert len(keys) <= group.longest_key
            mask = segment_mask(len(queries), len(keys), "cpu") if causal else None
            found[queries] = sdpa(q[queries], k[keys], v[keys], mask)
    assert torch.allclose(found, attention(q, k, v, layout, "dense"), atol=1e-12)


def test_varlen_asks_for_the_kernels_of_flash_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled = []

    def stand_in(q_THD: torch.Tensor, *_: object, **__: object) -> torch.Tensor:  # the real one runs on CUDA only
        enabled.append((torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.cudnn_sdp_enabled()))
        return q_THD

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", stand_in)
    layout = PackLayout.build(SAMPLES)
    VarlenAttention(layout)(*(x.detach().bfloat16() for x in random_qkv(layout.num_tokens)))
    assert set(enabled) == {(True, False)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_flex_is_compiled_once_for_packs_of_all_lengths() -> None:
    # The CPU has FlexAttention's forward pass alone: enough to see that a new pack's mask compiles nothing again.
    counters.clear()
    for pack in (SAMPLES, SAMPLES[1:], SAMPLES[::-1], (*SAMPLES, *SAMPLES)):
        layout = PackLayout.build(pack)
        q, k, v = (x.detach().float() for x in random_qkv(layout.num_tokens))
        with torch.no_grad():
            found = compiled_flex()(*(x.transpose(0, 1)[None] for x in (q, k, v)), block_mask=flex_block_mask(layout))
        expected = attention(q, k, v, layout, "dense")
        assert torch.allclose(found[0].transpose(0, 1), expected, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 1


def on_the_gpu(implementation: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Returns the output and the gradients of random queries, keys and values with heads of 96, in float32."""
    layout = PackLayout.build((*SAMPLES, sample((30, 2), ((8, 9),), (12, 12)))).to("cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    shape = (layout.num_tokens, 2, 96)
    qkv = [torch.randn(shape, device="cuda", generator=generator, dtype=dtype).requires_grad_() for _ in range(3)]
    out = attention(*qkv, layout, implementation)
    out.float().square().sum().backward()
    return [x.float() for x in (out, *(x.grad for x in qkv if x.grad is not None))]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("implementation", "dtype", "tolerance"),
    [
        ("flex", torch.float32, 2e-3),
        ("segment", torch.float32, 2e-3),
        ("flex", torch.bfloat16, 0.1),
        ("segment", torch.bfloat16, 0.1),
        ("varlen", torch.bfloat16, 0.1),
    ],
)
def test_on_the_gpu_all_equal_dense(implementation: str, dtype: torch.dtype, tolerance: float) -> None:
    found, expected = on_the_gpu(implementation, dtype), on_the_gpu("dense", torch.float32)
    assert all(torch.allclose(a, b, atol=tolerance, rtol=tolerance) for a, b in zip(found, expected))
