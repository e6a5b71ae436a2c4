"""Copies between the host and a GPU for which the host does not wait."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Returns `tensor` on `device`; from the host to a GPU through pinned memory, in the order of the current stream.

    The host goes on at once, where a copy from pageable memory would wait for all that the stream has to do before.
    """
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class HostCopy:
    """A tensor on its way to the host, behind what the current stream has to do before."""

    def __init__(self, tensor: Tensor) -> None:
        self._host = tensor.to("cpu", non_blocking=True)  # into pinned memory
        self._arrived = torch.get_device_module(tensor.device).Event()
        self._arrived.record()

    def read(self) -> Tensor:
        """Returns it when it is there; waits for nothing that was begun later."""
        self._arrived.synchronize()
        return self._host
