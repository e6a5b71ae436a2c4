"""Prepares each step while the device computes the one before, on a stream of its own; on a CPU simply before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


class PreparedAhead(Generic[Item, Prepared]):
    """Gives what `prepare` makes of each of `items`, in their order, and begins it when `fetch` is called.

    What it gives is memory of the other stream: keep it until the device is done with it, or the next item may be
    written over it.
    """

    def __init__(self, items: Iterator[Item], prepare: Callable[[Item], Prepared], device: torch.device | str) -> None:
        self._items, self._prepare = items, prepare
        self._device = torch.get_device_module(device)
        self._stream = self._device.Stream()
        self._stream.wait_stream(self._device.current_stream())  # on which weights of a codec were made
        self._ready: Prepared | None = None
        self._failure: Exception | None = None

    def fetch(self) -> None:
        """Prepares the next item, if there is one. What goes wrong is raised by `take`, so that the step before ends
        as it would have.
        """
        try:
            for item in self._items:
                with self._device.stream(self._stream):
                    self._ready = self._prepare(item)
                return
        except Exception as error:  # noqa: BLE001 - raised by `take`
            self._failure = error

    def take(self) -> Prepared | None:
        """Returns what `fetch` has prepared, None at the end; what the device does from now on comes after it."""
        if self._failure is not None:
            raise self._failure
        self._device.current_stream().wait_stream(self._stream)
        ready, self._ready = self._ready, None
        return ready
