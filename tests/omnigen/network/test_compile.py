"""Compiled blocks: the same numbers and names, and nothing compiled again for a pack of another shape."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._dynamo.utils import counters

from omnigen.network.blocks import Checkpointing, compile_blocks
from omnigen.network.layout import SampleLayout
from omnigen.network.model import OmniGen
from omnigen.network.recompiling import RECOMPILE_LIMIT, limit_recompiles
from tests.support.tiny_network import SAMPLES, inputs, random_model, relative_error

PACKS = (SAMPLES, SAMPLES[:2], SAMPLES[1:4], SAMPLES[4:], SAMPLES[::-1])
MODES: tuple[Checkpointing, ...] = ("none", "selective", "full")


def trained(model: OmniGen, pack: tuple[SampleLayout, ...], mode: Checkpointing) -> list[Tensor]:
    """Returns the velocities of a pack and the gradients of all parameters."""
    model.zero_grad()
    velocities = model(*inputs(pack), checkpointing=mode)
    torch.stack([v.square().sum() for v in velocities]).sum().backward()  # type: ignore[no-untyped-call]
    return [*velocities, *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_blocks_give_the_same_and_compile_once_for_all_packs() -> None:
    model, compiled = random_model(), random_model()
    compile_blocks(compiled)
    counters.clear()
    for pack in PACKS:
        for mode in MODES:
            found, expected = trained(compiled, pack, mode), trained(model, pack, mode)
            assert len(found) == len(expected)
            assert max(relative_error(a, b) for a, b in zip(found, expected)) < 1e-5
    assert counters["stats"]["unique_graphs"] == 2, "one before attention, one after, shared by all layers and packs"
    assert not counters["graph_break"]
    assert list(compiled.state_dict()) == list(model.state_dict())


def test_compiling_changes_no_name() -> None:
    model = random_model()
    names = list(model.state_dict())
    compile_blocks(model)
    assert list(model.state_dict()) == names
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in random_model().named_parameters()]


def test_compiling_again_too_often_is_an_error_and_no_slow_run() -> None:
    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        limit_recompiles()
        added = torch.compile(lambda x, n: x + n, backend="eager", dynamic=False)
        for n in range(RECOMPILE_LIMIT):
            added(torch.zeros(1), n)
        with pytest.raises(FailOnRecompileLimitHit):
            added(torch.zeros(1), RECOMPILE_LIMIT)
