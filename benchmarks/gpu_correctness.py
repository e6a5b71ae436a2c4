"""The whole network on the device: every attention, kernel and precision against the dense mask in float32.

Two comparisons for each: a pack's velocities and gradients with those of the reference, and its velocities with those
of its samples one by one. Reference: dense attention, float32, without TF32.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from workload import latents, mixture

from omnigen.network.blocks import compile_blocks
from omnigen.network.config import PHI3_LONG_FACTORS, PHI3_SHORT_FACTORS, ModelConfig
from omnigen.network.layout import PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from x2i.errors import UserError

# Largest difference over largest value. bf16 has 8 bits: a value may be off by 0.4 percent at every rounding.
TOLERANCE = {"fp32": 2e-4, "bf16": 6e-2}
KERNELS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "": nullcontext,
    "flash": lambda: sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True),
    "cudnn": lambda: sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH], set_priority=True),
    "efficient": lambda: sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], set_priority=True),
}
CASES = [
    ("dense", "", "fp32"),
    ("segment", "", "fp32"),
    ("segment", "efficient", "fp32"),
    ("flex", "", "fp32"),
    ("dense", "", "bf16"),
    ("segment", "", "bf16"),
    ("segment", "flash", "bf16"),
    ("segment", "cudnn", "bf16"),
    ("segment", "efficient", "bf16"),
    ("flex", "", "bf16"),
    ("varlen", "", "bf16"),
]
CONFIG = ModelConfig(
    hidden_size=384,
    num_layers=2,
    num_heads=4,
    intermediate_size=1024,
    vocab_size=500,
    in_channels=4,
    original_max_position_embeddings=300,
    max_position_embeddings=4096,
    rope_short_factors=PHI3_SHORT_FACTORS,
    rope_long_factors=PHI3_LONG_FACTORS,
    pos_embed_max_size=64,
)


def measure(device: torch.device, toy: bool) -> Iterator[dict[str, Any]]:
    """Yields a row for every case: its differences, and `right`, `wrong` or why it did not run."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    samples = mixture(4 if toy else 12, 64 if toy else 256, CONFIG.vocab_size, seed=1)
    model = network().to(device)
    reference = run(model, samples, "dense", device)
    for compiled in (False, True):
        for case in _cases(compiled):
            yield _row(model, samples, reference, case, device, compiled)


def network() -> OmniGen:
    """Returns a network none of whose parameters is zero, on the CPU."""
    model = OmniGen.initialized(CONFIG, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return model


def run(
    model: OmniGen, samples: Sequence[SampleLayout], attention: str, device: torch.device
) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the velocities of the samples in one pack, and the gradients of all parameters."""
    layout, references, noisy, times = _inputs(samples, device)
    model.zero_grad()
    velocities = model(layout, references, noisy, times, attention=attention)
    torch.stack([v.square().mean() for v in velocities]).sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    return [v.detach() for v in velocities], gradients


def run_singly(model: OmniGen, samples: Sequence[SampleLayout], attention: str, device: torch.device) -> list[Tensor]:
    """Returns the velocities of the samples, each in a pack of its own."""
    layout, references, noisy, times = _inputs(samples, device)
    out = []
    for i, sample in enumerate(samples):
        mine = [x for x, owner in zip(references, layout.reference_samples) if owner == i]
        alone = PackLayout.build((sample,)).to(device)
        with torch.no_grad():
            out += model(alone, mine, noisy[i : i + 1], times[i : i + 1], attention=attention)
    return out


def _cases(compiled: bool) -> list[tuple[str, str, str]]:
    return [case for case in CASES if not compiled or case in (("segment", "", "fp32"), ("flex", "", "bf16"))]


def _row(
    model: OmniGen,
    samples: Sequence[SampleLayout],
    reference: tuple[list[Tensor], list[Tensor]],
    case: tuple[str, str, str],
    device: torch.device,
    compiled: bool,
) -> dict[str, Any]:
    attention, kernel, precision = case
    row: dict[str, Any] = {"attention": attention, "kernel": kernel, "precision": precision, "compiled": compiled}
    if compiled:
        model = network().to(device)
        compile_blocks(model)
    half = torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
    try:
        with KERNELS[kernel](), half:
            velocities, gradients = run(model, samples, attention, device)
            singly = run_singly(model, samples, attention, device)
    except UserError as error:
        return row | {"result": "not here", "note": str(error)}
    except Exception as error:  # noqa: BLE001 - a kernel this machine lacks must not hide the others
        traceback.print_exc()
        return row | {"result": "failed", "note": f"{type(error).__name__}: {error}".splitlines()[0][:120]}
    differences = {
        "velocities": largest_difference(velocities, reference[0]),
        "gradients": largest_difference(gradients, reference[1]),
        "pack_and_singles": largest_difference(velocities, singly),
    }
    right = all(difference < TOLERANCE[precision] for difference in differences.values())
    rounded = {name: f"{difference:.1e}" for name, difference in differences.items()}
    return row | rounded | {"result": "right" if right else "wrong"}


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Returns the largest over the tensors of (largest difference / largest value)."""
    assert len(found) == len(expected)
    return max(
        float((a.float() - b.float()).abs().max() / b.float().abs().max().clamp(min=1e-30))
        for a, b in zip(found, expected)
    )


def _inputs(
    samples: Sequence[SampleLayout], device: torch.device
) -> tuple[PackLayout, list[Tensor], list[Tensor], Tensor]:
    layout = PackLayout.build(samples)
    references, noisy, times = latents(layout, CONFIG.in_channels)
    return layout.to(device), [x.to(device) for x in references], [x.to(device) for x in noisy], times.to(device)
