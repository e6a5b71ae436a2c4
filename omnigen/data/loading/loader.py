"""Loads scheduled packs ahead of use, in worker processes; the result does not depend on how many there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

from torch.utils.data import DataLoader, Dataset

from omnigen.cache.latents import LatentReader, LatentShard
from omnigen.data.loading.collate import PackBatch, load_pack
from omnigen.data.loading.sample import ImageReader, PlannedSample, Reader
from omnigen.data.loading.worker_signals import leave_process_group, stop_signals_held
from omnigen.data.order.packing import PackingState
from omnigen.data.order.schedule import PackSchedule, StepPacks
from x2i.errors import RunError, UserError
from x2i.store.files.ranges import RangeReader

PACKS_AHEAD_PER_WORKER = 4


Failure = UserError | RunError
"""Handed over by a worker as a value: raised there, it would arrive wrapped in a traceback."""


@dataclass(frozen=True)
class LoadedStep:
    """One rank's share of a step. scheduled: the whole step, over all ranks. packs: this rank's, in order."""

    scheduled: StepPacks
    packs: tuple[PackBatch, ...]


class PackDataset(Dataset[PackBatch | Failure]):
    """Turns the planned samples of a pack into a PackBatch; the "index" from the sampler is the pack itself."""

    def __init__(
        self, max_side: int, files: RangeReader, latents: Mapping[Path, LatentShard] = MappingProxyType({})
    ) -> None:
        pixels = ImageReader(max_side, files=files)
        self._reader: Reader = LatentReader(latents, pixels) if latents else pixels

    def __getitem__(self, pack: Sequence[PlannedSample]) -> PackBatch | Failure:
        try:
            return load_pack(pack, self._reader)
        except (UserError, RunError) as error:
            return error


class StepLoader:
    """Iterates over steps [first, last) from `state`: pack i of a step belongs to rank i mod world.

    workers: processes that load ahead; 0 loads in this one, when asked. latents: the caches to read instead of pixels,
    by the path of the tar.
    """

    def __init__(
        self,
        schedule: PackSchedule,
        state: PackingState,
        first: int,
        last: int,
        *,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        latents: Mapping[Path, LatentShard] = MappingProxyType({}),
    ) -> None:
        self._schedule, self._state, self._first, self._last = schedule, state, first, last
        self._dataset = PackDataset(schedule.options.max_side, schedule.sequence.reader(), latents)
        self._workers, self._rank, self._world = workers, rank, world

    def __iter__(self) -> Generator[LoadedStep, None, None]:
        prefetcher = self._schedule.sequence.prefetcher()
        if prefetcher is None:
            yield from self._steps()
            return
        prefetcher.start()
        try:
            for step in self._steps():
                prefetcher.check()
                yield step
        finally:
            prefetcher.stop()

    def _steps(self) -> Iterator[LoadedStep]:
        upcoming: deque[StepPacks] = deque()
        loader = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=_RankPacks(self._scheduled(upcoming), self._rank, self._world),
            num_workers=self._workers,
            prefetch_factor=PACKS_AHEAD_PER_WORKER if self._workers else None,
            # A forked worker would inherit the locks of the decoders' and torch's threads.
            multiprocessing_context="spawn" if self._workers else None,
            worker_init_fn=leave_process_group if self._workers else None,
        )
        with stop_signals_held():
            packs = iter(loader)
        for _ in range(self._first, self._last):
            mine: list[PackBatch] = []
            for _ in range(self._rank, self._schedule.options.packs_per_step, self._world):
                pack = cast("PackBatch | Failure", next(packs))
                if isinstance(pack, UserError | RunError):
                    raise pack
                mine.append(pack)
            if not mine:
                raise ValueError("a rank without a pack: train.packs_per_step must be at least the number of ranks")
            yield LoadedStep(upcoming.popleft(), tuple(mine))

    def _scheduled(self, upcoming: deque[StepPacks]) -> Iterator[StepPacks]:
        state = self._state
        for number in range(self._first, self._last):
            step = self._schedule.step(number, state)
            state = step.state
            upcoming.append(step)
            yield step


class _RankPacks:
    """The packs of one rank, in order of use; iterated in the main process, ahead of the workers."""

    def __init__(self, steps: Iterator[StepPacks], rank: int, world: int) -> None:
        self._steps, self._rank, self._world = steps, rank, world

    def __iter__(self) -> Iterator[tuple[PlannedSample, ...]]:
        for step in self._steps:
            yield from step.packs[self._rank :: self._world]
