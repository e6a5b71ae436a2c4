"""FlashAttention 3 is switched on through torch, where a Hopper GPU and the package are, and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import attention

from omnigen.network import flash_attention_3
from omnigen.network.flash_attention_3 import use_flash_attention_3

H100, A100 = (9, 0), (8, 0)


@pytest.mark.parametrize(
    ("device", "capability", "installed", "used"),
    [
        ("cuda", H100, True, True),
        ("cuda", H100, False, False),
        ("cuda", A100, True, False),
        ("cpu", H100, True, False),
    ],
)
def test_it_is_used_where_it_can_be(
    monkeypatch: pytest.MonkeyPatch, device: str, capability: tuple[int, int], installed: bool, used: bool
) -> None:
    if "FA3" not in attention.list_flash_attention_impls():
        pytest.skip("this torch has no switch")
    registered: list[str] = []
    kernels = SimpleNamespace(remove=lambda: registered.remove("FA3"))
    before = attention._registry._FLASH_ATTENTION_IMPLS["FA3"]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(flash_attention_3, "find_spec", lambda name: name if installed else None)
    attention.register_flash_attention_impl("FA3", register_fn=lambda: registered.append("FA3") or kernels)
    try:
        assert use_flash_attention_3(torch.device(device)) is used
        assert attention.current_flash_attention_impl() == ("FA3" if used else None)
        assert registered == (["FA3"] if used else [])
    finally:
        if used:
            attention.restore_flash_attention_impl()
        attention.register_flash_attention_impl("FA3", register_fn=before)
