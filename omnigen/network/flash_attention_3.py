"""FlashAttention 3, through torch's own switch, where a Hopper GPU and its package are present."""

from __future__ import annotations

from importlib.util import find_spec

import torch

PACKAGE = "flash_attn_interface"
"""The module of FlashAttention 3's package, flash-attn-3."""
HOPPER = (9, 0)


def use_flash_attention_3(device: torch.device) -> bool:
    """Makes torch's FlashAttention calls on `device` (`varlen`, and `segment` where torch takes that kernel) use
    version 3, for the rest of the process; returns whether they do. Without the package torch keeps version 2.
    """
    from torch.nn import attention

    activate = getattr(attention, "activate_flash_attention_impl", None)  # from torch 2.11 on
    if activate is None or device.type != "cuda" or torch.cuda.get_device_capability(device) != HOPPER:
        return False
    if find_spec(PACKAGE) is None:
        return False
    activate("FA3")
    return True
