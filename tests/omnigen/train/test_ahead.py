"""The next step is prepared beside the one that runs, and nothing of a step makes the host wait for the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from omnigen.device_copies import HostCopy, to_device
from omnigen.network.attention import plan_attention
from omnigen.network.layout import PackLayout
from omnigen.network.model import OmniGen
from omnigen.train.ahead import PreparedAhead
from omnigen.train.objective import FlowPack, sample_losses
from tests.support.tiny_network import CONFIG, SAMPLES


class Device:
    """A device that notes what its streams are told. It stands for CUDA, whose module has the same names."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.current = "main"

    def Stream(self) -> Any:  # noqa: N802 - torch's name
        return self._stream("side")

    def current_stream(self) -> Any:
        return self._stream(self.current)

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def _stream(self, name: str) -> Any:
        return SimpleNamespace(name=name, wait_stream=lambda other: self.told.append(f"{name} waits for {other.name}"))


def test_a_step_is_prepared_on_a_stream_that_does_not_wait_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    monkeypatch.setattr(torch, "get_device_module", lambda kind: device)

    def prepare(item: int) -> str:
        device.told.append(f"prepare {item} on {device.current}")
        return f"item {item}"

    ahead = PreparedAhead(iter([1, 2]), prepare, "cuda")
    ahead.fetch()
    for number in (1, 2):
        assert ahead.take() == f"item {number}"
        device.told.append(f"compute {number}")
        ahead.fetch()
    assert ahead.take() is None
    assert device.told == [
        "side waits for main",  # once: for the codec's weights
        "prepare 1 on side",
        "main waits for side",
        "compute 1",
        "prepare 2 on side",
        "main waits for side",
        "compute 2",
        "main waits for side",
    ]


def test_what_fails_ahead_is_told_when_its_turn_comes() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    ahead = PreparedAhead(items(), str, "cpu")
    ahead.fetch()
    assert ahead.take() == "1"
    ahead.fetch()
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.take()


def test_on_the_cpu_copies_are_what_they_copy() -> None:
    tensor = torch.arange(3)
    assert to_device(tensor, "cpu") is tensor
    assert HostCopy(tensor).read() is tensor


class NoWaiting(TorchDispatchMode):
    """A GPU without contents beside a real CPU; fails where the host would wait for it: at values that are read, and at
    copies that are not from pinned memory. Stands on a FakeTensorMode, which knows the shapes.
    """

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, FakeTensor | torch.device)]
        if not given or all(isinstance(each, torch.device) and each.type == "cpu" for each in given):
            with _disable_current_modes():
                return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        assert name not in self.WAITING, f"{name} waits for the device"
        out = func(*args, **kwargs)
        if name == "_to_copy" and {args[0].device.type, out.device.type} == {"cpu", "cuda"}:
            assert kwargs.get("non_blocking"), "a copy waits for the device"
        return out


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # there is no driver to pin for
    with FakeTensorMode(allow_non_fake_inputs=True), NoWaiting():
        yield


def test_neither_the_loss_nor_clipping_makes_the_host_wait(no_waiting: None) -> None:
    device = torch.device("cuda:0")
    layout = PackLayout.build(SAMPLES).to(device)
    with device:
        model = OmniGen(CONFIG)
    grids = [(CONFIG.in_channels, 2 * grid.rows, 2 * grid.columns) for grid in layout.target_grids]
    shown = [(CONFIG.in_channels, 2 * grid.rows, 2 * grid.columns) for grid in layout.reference_grids]
    count = len(SAMPLES)
    pack = FlowPack(
        keys=("key",) * count,
        tasks=("task",) * count,
        layout=layout,
        references=[torch.empty(shape, device=device) for shape in shown],
        clean=[torch.empty(shape, device=device) for shape in grids],
        noise=[torch.empty(shape, device=device) for shape in grids],
        timesteps_S=torch.empty(count, device=device),
        weights=[torch.empty(grids[0], device=device), *[None] * (count - 1)],
        counted=(True, False, *[True] * (count - 2)),
    )
    with sdpa_kernel(SDPBackend.MATH):
        losses = sample_losses(model, pack)
    assert losses.weighted_S.shape == losses.plain_S.shape == (count,)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert norm.device == losses.weighted_S.device == device


@pytest.mark.parametrize("implementation", ["segment", "padded", "varlen", "flex"])
def test_no_attention_makes_the_host_wait_while_its_masks_are_made(no_waiting: None, implementation: str) -> None:
    plan_attention(PackLayout.build(SAMPLES).to("cuda:0"), implementation)


def test_reading_a_value_of_the_device_would_be_noticed(no_waiting: None) -> None:
    for waits in (torch.Tensor.tolist, float, lambda each: each[each > 0], lambda each: each.cpu()):
        with pytest.raises((AssertionError, RuntimeError)):
            waits(torch.zeros((), device="cuda:0"))
    with pytest.raises(AssertionError, match="a copy waits"):
        torch.zeros(3).to("cuda:0")
