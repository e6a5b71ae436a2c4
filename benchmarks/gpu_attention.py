"""Attention alone over packs of OmniGen's mixture: every implementation and kernel, forward and backward, by length."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from workload import mixture

from omnigen.attention import Attention, FlexAttention, plan_attention
from omnigen.flops import visible_pairs
from omnigen.layout import PackLayout, SampleLayout
from x2i.errors import UserError

LENGTHS = (8192, 16384, 32768, 65536)
HEADS, HEAD_DIM = 32, 96
SDPA_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
# Heads of 96 are padded to 128 in Triton: smaller tiles than the defaults leave registers for the accumulators.
FLEX_OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "forward tiles 128 x 64": {"fwd_BLOCK_M": 128, "fwd_BLOCK_N": 64, "fwd_num_warps": 8, "fwd_num_stages": 2},
    "forward tiles 64 x 64": {"fwd_BLOCK_M": 64, "fwd_BLOCK_N": 64, "fwd_num_warps": 4, "fwd_num_stages": 3},
    "backward tiles 64 x 64": {
        "bwd_BLOCK_M1": 64,
        "bwd_BLOCK_N1": 64,
        "bwd_BLOCK_M2": 64,
        "bwd_BLOCK_N2": 64,
        "bwd_num_warps": 4,
        "bwd_num_stages": 2,
    },
    "backward tiles 64 x 128": {
        "bwd_BLOCK_M1": 64,
        "bwd_BLOCK_N1": 128,
        "bwd_BLOCK_M2": 128,
        "bwd_BLOCK_N2": 64,
        "bwd_num_warps": 8,
        "bwd_num_stages": 2,
    },
    "prescaled": {"PRESCALE_QK": True},
    "flash backend": {"BACKEND": "FLASH"},
}


@dataclass(frozen=True)
class Contender:
    """One way to attend. plan: makes it for a pack. kernels: the context it runs in."""

    attention: str
    variant: str
    plan: Callable[[PackLayout], Attention]
    kernels: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)


def contenders() -> Iterator[Contender]:
    """Yields every implementation with every kernel and option worth trying."""
    for name, options in FLEX_OPTIONS.items():
        yield Contender("flex", name, lambda layout, options=options: FlexAttention(layout, options or None))
    for implementation in ("segment", "varlen"):
        for name, backend in SDPA_KERNELS.items():
            if implementation == "segment" or name != "efficient":
                yield Contender(
                    implementation,
                    name,
                    lambda layout, implementation=implementation: plan_attention(layout, implementation),
                    # A kernel that cannot take a call (a mask, say) leaves it to the next in the list.
                    lambda backend=backend: sdpa_kernel(
                        [backend, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], set_priority=True
                    ),
                )


def pack_of(tokens: int, side: int) -> PackLayout:
    """Returns a pack of at most `tokens` tokens, filled with the mixture."""
    chosen: list[SampleLayout] = []
    room = tokens
    for sample in mixture(max(10, tokens // 1000), side, 32000):
        if sample.length <= room:
            chosen.append(sample)
            room -= sample.length
    return PackLayout.build(chosen)


def measure(device: torch.device, toy: bool) -> Iterator[dict[str, Any]]:
    """Yields a row for every contender and length; one that fails has its error in the row."""
    for length in (2048,) if toy else LENGTHS:
        layout = pack_of(length, 128 if toy else 1024).to(device)
        heads = 2 if toy else HEADS
        for contender in contenders():
            yield _row(contender, layout, heads, repeats=1 if toy else 10)


def _row(contender: Contender, layout: PackLayout, heads: int, repeats: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "attention": contender.attention,
        "variant": contender.variant,
        "tokens": layout.num_tokens,
        "samples": layout.num_samples,
    }
    try:
        return row | _timed(contender, layout, heads, repeats)
    except UserError as error:
        return row | {"note": str(error)}
    except Exception as error:  # noqa: BLE001 - a kernel this machine lacks must not hide the others
        traceback.print_exc()
        return row | {"note": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]}


def _timed(contender: Contender, layout: PackLayout, heads: int, repeats: int) -> dict[str, Any]:
    device = layout.device
    generator = torch.Generator(device).manual_seed(0)
    shape = (layout.num_tokens, heads, HEAD_DIM)

    def draw() -> Tensor:
        return torch.randn(shape, device=device, dtype=torch.bfloat16, generator=generator).requires_grad_()

    q, k, v, grad = draw(), draw(), draw(), draw().detach()
    with contender.kernels():
        attend = contender.plan(layout)

        def forward() -> None:
            with torch.no_grad():
                attend(q, k, v)

        def both() -> None:
            q.grad = k.grad = v.grad = None
            attend(q, k, v).backward(grad)

        forward_ms, both_ms = milliseconds(forward, device, repeats), milliseconds(both, device, repeats)
        memory = peak_bytes(both, device)
    # Four operations for a pair and dimension forward; two and a half times as many backward, scores made again.
    operations = 4.0 * heads * HEAD_DIM * visible_pairs(layout)
    return {
        "forward_ms": round(forward_ms, 3),
        "both_ms": round(both_ms, 3),
        "forward_tflops": round(operations / forward_ms / 1e9, 1),
        "both_tflops": round(3.5 * operations / both_ms / 1e9, 1),
        "peak_gb": None if memory is None else round(memory / 1e9, 2),
    }


def milliseconds(run: Callable[[], None], device: torch.device, repeats: int) -> float:
    """Returns the median time of `run`, after three runs that compile and warm up."""
    for _ in range(3 if repeats > 1 else 1):
        run()
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def peak_bytes(run: Callable[[], None], device: torch.device) -> int | None:
    """Returns the most bytes allocated during `run`; None where the device does not say."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    run()
    _wait(device)
    return torch.cuda.max_memory_allocated(device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
