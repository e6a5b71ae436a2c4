"""Attention alone over packs of OmniGen's mixture: every implementation and kernel, forward and backward, by length."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, restore_flash_attention_impl, sdpa_kernel
from workload import mixture

from omnigen.network.attention import FLEX_OPTIONS, Attention, FlexAttention, plan_attention, require_device
from omnigen.network.flash_attention_3 import use_flash_attention_3
from omnigen.network.flops import visible_pairs
from omnigen.network.layout import PackLayout, SampleLayout
from x2i.errors import UserError

LENGTHS = (8192, 16384, 32768, 65536)
HEADS, HEAD_DIM = 32, 96
SDPA_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
# Smaller or larger tiles in the backward pass than torch's own (64 x 128) were 1.1 to 2 times slower on an H200.
FLEX_VARIANTS: dict[str, dict[str, Any] | None] = {
    "as trained": None,
    "no TMA": {},
    "forward tiles 128 x 64": {
        **FLEX_OPTIONS,
        "fwd_BLOCK_M": 128,
        "fwd_BLOCK_N": 64,
        "fwd_num_warps": 8,
        "fwd_num_stages": 3,
    },
    "prescaled": {**FLEX_OPTIONS, "PRESCALE_QK": True},
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
    for name, options in FLEX_VARIANTS.items():
        yield Contender("flex", name, partial(FlexAttention, kernel_options=options))
    for name, kernels in (("as torch chooses", nullcontext), ("FlashAttention 3", flash_attention_3)):
        yield Contender("varlen", name, lambda layout: plan_attention(layout, "varlen"), kernels)
    for name, backend in SDPA_KERNELS.items():
        yield Contender(
            "segment",
            name,
            lambda layout: plan_attention(layout, "segment"),
            # A kernel that cannot take a call (a mask, say) leaves it to the next in the list.
            partial(sdpa_kernel, [backend, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], set_priority=True),
        )


@contextmanager
def flash_attention_3() -> Iterator[None]:
    """Inside the block torch's FlashAttention is version 3. Raises UserError where that is not present."""
    if not use_flash_attention_3(torch.device("cuda")):
        raise UserError("FlashAttention 3 is not here: it needs a Hopper GPU and the package flash-attn-3")
    try:
        yield
    finally:
        restore_flash_attention_impl()


def pack_of(tokens: int, side: int, seed: int = 0) -> PackLayout:
    """Returns a pack of at most `tokens` tokens, filled with the mixture until hardly anything more fits."""
    chosen: list[SampleLayout] = []
    room = tokens
    for sample in mixture(max(10, 20 * tokens // side), side, 32000, seed):
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
        require_device(contender.attention, layout.device)
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
        start = time.perf_counter()
        attend(q, k, v).backward(grad)
        _wait(device)
        first = time.perf_counter() - start

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
        "first_s": round(first, 2),
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
