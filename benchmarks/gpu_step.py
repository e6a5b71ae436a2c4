"""The trainer's own step (`omnigen.train.step`) of the full-size network, on packs that change from step to step.

Packs of the mixture at the sizes of the phases, one and several for a step, and what checkpointing and compiling do.
They are made on the CPU, and copied and prepared ahead, as in training; only pictures and codec are left out. What does
not fit the device is left out, in this order, and said in the output: the average, then layers.
"""

from __future__ import annotations

import gc
import itertools
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from gpu_attention import pack_of
from workload import latents

from omnigen.device_copies import to_device
from omnigen.network.blocks import Checkpointing, compile_blocks
from omnigen.network.config import PRESETS, ModelConfig
from omnigen.network.flops import peak_flops, train_flops, train_memory
from omnigen.network.layout import PackLayout
from omnigen.network.model import OmniGen
from omnigen.train.ahead import PreparedAhead
from omnigen.train.ema import Average
from omnigen.train.objective import FlowPack
from omnigen.train.optimizer import build_optimizer
from omnigen.train.parallel import Ranks
from omnigen.train.step import BegunStep, Stepper

PACK_TOKENS = 16384
MODES: tuple[Checkpointing, ...] = ("none", "selective", "full")
RESERVE = 3e9  # for what the allocator and the kernels take
WARM, TIMED = 4, 8
"""Steps: those that compile, and those that are timed."""
LR = 1e-4


@dataclass(frozen=True)
class Case:
    """One way to train. side: longer side of the images in pixels. packs: for each step. clip: as in training."""

    side: int
    attention: str = "flex"
    packs: int = 1
    compiled: bool = True
    checkpointing: Checkpointing = "none"
    clip: float = 1.0


CASES = [
    *(Case(side, attention) for side in (256, 512, 1024) for attention in ("flex", "varlen")),
    *(Case(side, packs=4) for side in (256, 512, 1024)),
    Case(1024, checkpointing="selective"),
    Case(1024, checkpointing="full"),
    Case(1024, compiled=False),
    Case(1024, compiled=False, checkpointing="selective"),
]
TOYS = [Case(128, "segment", packs, packs == 1, mode) for packs in (1, 2) for mode in MODES]


@dataclass(frozen=True)
class Plan:
    """What fits: the network, and whether an average is held."""

    config: ModelConfig
    average: bool


def measure(device: torch.device, toy: bool) -> Iterator[dict[str, Any]]:
    """Yields a row for every case; one that fails has its error in the row."""
    whole = (
        replace(
            PRESETS["phi3-mini"], hidden_size=192, num_heads=2, num_layers=2, intermediate_size=256, vocab_size=32064
        )
        if toy
        else PRESETS["phi3-mini"]
    )
    cases = TOYS if toy else CASES
    for key in dict.fromkeys((case.compiled, case.checkpointing) for case in cases):
        gc.collect()  # compiled layers refer to themselves, and would keep the last network's weights
        plan = fitting(whole, 1024 if toy else PACK_TOKENS, key[1], free_bytes(device))
        if plan is None:
            yield {"checkpointing": key[1], "note": "not even one layer fits"}
            continue
        yield from _rows(plan, [case for case in cases if (case.compiled, case.checkpointing) == key], device, toy)


def free_bytes(device: torch.device) -> float:
    """Returns the bytes free on the device; on a CPU as many as an H200 has, where only toys run."""
    if device.type != "cuda":
        return 139e9
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info(device)[0])


def fitting(whole: ModelConfig, tokens: int, mode: Checkpointing, free: float) -> Plan | None:
    """Returns the most that fits in `free` bytes: all; without the average; then fewer layers."""
    plans = [Plan(whole, True)] + [
        Plan(replace(whole, num_layers=layers), False) for layers in range(whole.num_layers, 0, -1)
    ]
    for plan in plans:
        held = train_memory(plan.config, tokens, checkpointing=mode, average=plan.average).total
        if held + RESERVE <= free:
            return plan
    return None


def flow_pack(layout: PackLayout, config: ModelConfig, device: torch.device) -> FlowPack:
    """Returns a pack as the trainer prepares it, of random latents."""
    references, noise, times = latents(layout, config.in_channels)
    count = layout.num_samples
    return FlowPack(
        keys=tuple(str(i) for i in range(count)),
        tasks=("mixture",) * count,
        layout=layout.to(device),
        references=[to_device(latent, device) for latent in references],
        clean=[to_device(torch.randn_like(latent), device) for latent in noise],
        noise=[to_device(latent, device) for latent in noise],
        timesteps_S=to_device(times, device),
        weights=[None] * count,
        counted=(True,) * count,
    )


def _rows(plan: Plan, cases: Sequence[Case], device: torch.device, toy: bool) -> Iterator[dict[str, Any]]:
    with torch.device(device):
        model = OmniGen(plan.config)
        model.init_buffers()
    average = Average(model, 0.9999) if plan.average else None
    optimizer = build_optimizer(model, 1e-4)
    if cases[0].compiled:
        compile_blocks(model)
    for case in cases:
        row: dict[str, Any] = {
            "side": case.side,
            "attention": case.attention,
            "packs": case.packs,
            "compiled": case.compiled,
            "checkpointing": case.checkpointing,
            "layers": plan.config.num_layers,
            "average": plan.average,
        }
        try:
            yield row | _timed(model, average, optimizer, case, device, toy)
        except Exception as error:  # noqa: BLE001 - out of memory in one mode must not hide the others
            traceback.print_exc()
            yield row | {"note": f"{type(error).__name__}: {error}".splitlines()[0][:120]}
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _timed(
    model: OmniGen,
    average: Average | None,
    optimizer: torch.optim.Optimizer,
    case: Case,
    device: torch.device,
    toy: bool,
) -> dict[str, Any]:
    config, cuda = model.config, device.type == "cuda"

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext()

    def prepare(layouts: Sequence[PackLayout]) -> list[FlowPack]:
        return [flow_pack(layout, config, device) for layout in layouts]

    stepper = Stepper(model, optimizer, average, Ranks(0, 1, device), autocast)
    ahead = PreparedAhead(_layouts(case, 1024 if toy else PACK_TOKENS), prepare, device)
    ahead.fetch()
    steps = itertools.count()

    def take(number: int) -> list[BegunStep]:
        """Takes steps as the trainer does between two lines of its log."""
        begun: list[BegunStep] = []
        for _ in range(number):
            packs = ahead.take()
            assert packs is not None
            begun.append(stepper.begin(packs, case, next(steps), LR))
            if len(begun) > 1:
                begun[-2].read()
            ahead.fetch()
        begun[-1].read()
        return begun

    take(1 if toy else WARM)
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    done = take(2 if toy else TIMED)
    elapsed = (time.perf_counter() - start) / len(done)
    norm, numbers = done[-1].read()
    loss = sum(float(each[0].sum()) for _, each in numbers) / done[-1].tokens
    if not torch.isfinite(torch.tensor([norm, loss])).all():
        raise ArithmeticError(f"the loss is {loss}, the gradient's norm {norm}")
    layouts = [pack.layout for each in done for pack in each.packs]
    tokens = sum(layout.num_tokens for layout in layouts) / len(done)
    flops = sum(train_flops(config, layout) for layout in layouts) / len(done)
    estimate = train_memory(
        config,
        max(layout.num_tokens for layout in layouts),
        checkpointing=case.checkpointing,
        precision="bf16" if cuda else "fp32",
        average=average is not None,
        accumulates=case.packs > 1,
    )
    peak = peak_flops(torch.cuda.get_device_name(device)) if cuda else None
    return {
        "tokens": round(tokens),
        "seconds": round(elapsed, 3),
        "tokens_per_second": round(tokens / elapsed),
        "tflops": round(flops / elapsed / 1e12, 3),
        "mfu": None if peak is None else f"{flops / elapsed / peak:.1%}",
        "peak_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 1) if cuda else None,
        "estimated_gb": round(estimate.total / 1e9, 3),
        "loss": round(loss, 3),
    }


def _layouts(case: Case, tokens: int) -> Iterator[list[PackLayout]]:
    """Yields the packs of one step after the other, no two alike."""
    for first in itertools.count(step=case.packs):
        yield [pack_of(tokens, case.side, seed) for seed in range(first, first + case.packs)]
