"""The training step of the full-size network with the trainer's own loss, optimizer and average.

Packs of the mixture at the sizes of the phases, one and several for a step, and what checkpointing and compiling do.
What does not fit the device is left out, in this order, and said in the output: the average, then layers.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from gpu_attention import milliseconds, pack_of, peak_bytes
from workload import latents

from omnigen.network.blocks import Checkpointing, compile_blocks
from omnigen.network.config import PRESETS, ModelConfig
from omnigen.network.flops import peak_flops, train_flops, train_memory
from omnigen.network.layout import PackLayout
from omnigen.network.model import OmniGen
from omnigen.train.ema import Average
from omnigen.train.objective import FlowPack, sample_losses
from omnigen.train.optimizer import build_optimizer

PACK_TOKENS = 16384
MODES: tuple[Checkpointing, ...] = ("none", "selective", "full")
RESERVE = 3e9  # for what the allocator and the kernels take


@dataclass(frozen=True)
class Case:
    """One way to train. side: longer side of the images in pixels. packs: for each step."""

    side: int
    attention: str = "flex"
    packs: int = 1
    compiled: bool = True
    checkpointing: Checkpointing = "none"


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
    clean = [torch.randn_like(latent) for latent in noise]
    count = layout.num_samples
    return FlowPack(
        keys=tuple(str(i) for i in range(count)),
        tasks=("mixture",) * count,
        layout=layout.to(device),
        references=[latent.to(device) for latent in references],
        clean=[latent.to(device) for latent in clean],
        noise=[latent.to(device) for latent in noise],
        timesteps_S=times.to(device),
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
        pack = flow_pack(pack_of(1024 if toy else PACK_TOKENS, case.side), plan.config, device)
        row: dict[str, Any] = {
            "side": case.side,
            "attention": case.attention,
            "packs": case.packs,
            "compiled": case.compiled,
            "checkpointing": case.checkpointing,
            "layers": plan.config.num_layers,
            "average": plan.average,
            "tokens": case.packs * pack.layout.num_tokens,
        }
        try:
            yield row | _timed(model, average, optimizer, pack, case, device, toy)
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
    pack: FlowPack,
    case: Case,
    device: torch.device,
    toy: bool,
) -> dict[str, Any]:
    tokens = case.packs * sum(pack.tokens)
    steps = 0
    total = torch.zeros((), device=device)

    def step() -> None:
        nonlocal steps
        optimizer.zero_grad(set_to_none=True)
        total.zero_()
        for _ in range(case.packs):
            with torch.autocast(device.type, torch.bfloat16) if device.type != "cpu" else nullcontext():
                losses = sample_losses(model, pack, case.attention, case.checkpointing)
            loss = losses.weighted_S.sum() / tokens
            loss.backward()
            total.add_(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if average is not None:
            average.update(model, steps)
        steps += 1

    elapsed = milliseconds(step, device, 1 if toy else 5) / 1e3
    memory = peak_bytes(step, device)
    if not torch.isfinite(total):
        raise ArithmeticError(f"the loss is {float(total)}")
    layout, config = pack.layout, model.config
    estimate = train_memory(
        config,
        layout.num_tokens,
        checkpointing=case.checkpointing,
        precision="fp32" if device.type == "cpu" else "bf16",
        average=average is not None,
        accumulates=case.packs > 1,
    )
    flops = case.packs * train_flops(config, layout)
    peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return {
        "seconds": round(elapsed, 3),
        "tokens_per_second": round(case.packs * layout.num_tokens / elapsed),
        "tflops": round(flops / elapsed / 1e12, 3),
        "mfu": None if peak is None else f"{flops / elapsed / peak:.1%}",
        "peak_gb": None if memory is None else round(memory / 1e9, 1),
        "estimated_gb": round(estimate.total / 1e9, 3),
        "loss": round(float(total), 3),
    }
