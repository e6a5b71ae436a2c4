"""Throughput by the wall clock: where an interval's time goes. It never reaches the files that a rerun must repeat."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

from omnigen.data.order.schedule import StepPacks
from omnigen.network.config import ModelConfig
from omnigen.network.flops import peak_flops, train_flops
from omnigen.network.layout import SampleLayout
from omnigen.train.parallel import Ranks

Item = TypeVar("Item")


class Throughput:
    """Measures intervals of steps. lora: an adapter alone is trained. peak_tflops: of one device; None: by its name."""

    def __init__(self, ranks: Ranks, config: ModelConfig, lora: bool, peak_tflops: float | None = None) -> None:
        self._ranks, self._config, self._lora = ranks, config, lora
        self._peak = peak_tflops * 1e12 if peak_tflops else _known_peak(ranks.device)
        self._begin()
        self.resume()

    def resume(self) -> None:
        """Leaves out the time since `stepped`: validation, pictures, checkpoints."""
        self._mark = time.perf_counter()

    def waited_for(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields `items`; the time until each is here was spent waiting for data."""
        iterator = iter(items)
        while True:
            self._stepping += self._since_mark()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._waiting += self._since_mark()
            yield item

    def stepped(self, packs: StepPacks) -> None:
        """The step is done: its losses were read."""
        self._stepping += self._since_mark()
        self._steps += 1
        self._tokens += packs.num_tokens
        self._samples += len(packs.samples)
        pairs = sum(visible_pairs(planned.layout) for planned in packs.samples)
        self._flops += train_flops(self._config, (packs.num_tokens, pairs), self._lora)

    def interval(self) -> dict[str, float | None]:
        """Returns the interval's numbers and begins the next.

        data_wait_share: of the time, spent waiting for data. mfu: model FLOPs of all ranks by what their devices can do
        at most; None if that is not known. memory_bytes: the most that this rank has held, on the device, or on a CPU
        in the process.
        """
        seconds = max(self._waiting + self._stepping, 1e-9)
        values = {
            "time": time.time(),
            "seconds_per_step": seconds / max(self._steps, 1),
            "tokens_per_second": self._tokens / seconds,
            "samples_per_second": self._samples / seconds,
            "data_wait_share": self._waiting / seconds,
            "tflops": self._flops / seconds / 1e12,
            "mfu": self._flops / seconds / (self._peak * self._ranks.world) if self._peak else None,
            "memory_bytes": float(_peak_memory(self._ranks.device)),
        }
        self._begin()
        return values

    def _begin(self) -> None:
        self._waiting = self._stepping = self._flops = 0.0
        self._steps = self._tokens = self._samples = 0

    def _since_mark(self) -> float:
        now = time.perf_counter()
        passed, self._mark = now - self._mark, now
        return passed


def visible_pairs(sample: SampleLayout) -> int:
    """Returns how many (query, key) pairs the mask of a sample lets through."""
    pairs = before = 0
    for text, grid in zip(sample.pieces, (*sample.references, sample.target)):
        queries = len(text) + (grid is sample.target)  # the time token ends the last text
        pairs += queries * before + queries * (queries + 1) // 2
        before += queries + grid.num_tokens
        pairs += grid.num_tokens * before
    return pairs


def _known_peak(device: torch.device) -> float | None:
    return peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
