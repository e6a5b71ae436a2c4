"""Loads planned packs ahead of use, in worker processes; what comes is the same with any number of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

from torch.utils.data import DataLoader, Dataset

from omnigen.cache.latents import LatentReader, LatentShard
from omnigen.data.loading.collate import PackBatch, load_pack
from omnigen.data.loading.sample import ImageReader, Reader, Slot
from omnigen.data.loading.worker_signals import leave_process_group, stop_signals_held
from omnigen.data.order.packing import PackingState
from omnigen.data.order.schedule import Planner, StepPlan
from x2i.errors import UserError
from x2i.store.files.ranges import RangeReader

PACKS_AHEAD_PER_WORKER = 4


@dataclass(frozen=True)
class LoadedStep:
    """One rank's share of a step. plan: of the whole step, over all ranks. packs: this rank's, in order."""

    plan: StepPlan
    packs: tuple[PackBatch, ...]


class PackDataset(Dataset[PackBatch | UserError]):
    """Turns the slots of a pack into a PackBatch; the "index" that the sampler hands out is the plan itself.

    A mistake of the user's is handed over as a value: raised in a worker, it would arrive wrapped in a traceback.
    """

    def __init__(
        self, max_side: int, files: RangeReader, latents: Mapping[Path, LatentShard] = MappingProxyType({})
    ) -> None:
        pixels = ImageReader(max_side, files=files)
        self._reader: Reader = LatentReader(latents, pixels) if latents else pixels

    def __getitem__(self, slots: Sequence[Slot]) -> PackBatch | UserError:
        try:
            return load_pack(slots, self._reader)
        except UserError as error:
            return error


class StepLoader:
    """Iterates over steps [first, last) from `state`: pack i of a step belongs to rank i mod world.

    workers: processes that load ahead; 0 loads in this one, when asked. latents: the caches to read instead of pixels,
    by the path of the tar.
    """

    def __init__(
        self,
        planner: Planner,
        state: PackingState,
        first: int,
        last: int,
        *,
        max_side: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        latents: Mapping[Path, LatentShard] = MappingProxyType({}),
    ) -> None:
        self._planner, self._state, self._first, self._last = planner, state, first, last
        self._dataset = PackDataset(max_side, planner.draws.reader(), latents)
        self._workers, self._rank, self._world = workers, rank, world

    def __iter__(self) -> Iterator[LoadedStep]:
        filler = self._planner.draws.filler()
        if filler is None:
            yield from self._steps()
            return
        filler.start()
        try:
            for step in self._steps():
                filler.check()
                yield step
        finally:
            filler.stop()

    def _steps(self) -> Iterator[LoadedStep]:
        plans: deque[StepPlan] = deque()
        loader = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=_RankPacks(self._planned(plans), self._rank, self._world),
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
            for _ in range(self._rank, self._planner.packs_per_step, self._world):
                pack = cast("PackBatch | UserError", next(packs))
                if isinstance(pack, UserError):
                    raise pack
                mine.append(pack)
            if not mine:
                raise ValueError("a rank without a pack: train.packs_per_step must be at least the number of ranks")
            yield LoadedStep(plans.popleft(), tuple(mine))

    def _planned(self, plans: deque[StepPlan]) -> Iterator[StepPlan]:
        state = self._state
        for number in range(self._first, self._last):
            plan = self._planner.step(number, state)
            state = plan.state
            plans.append(plan)
            yield plan


class _RankPacks:
    """The packs of one rank, in order of use; iterated in the main process, ahead of the workers."""

    def __init__(self, plans: Iterator[StepPlan], rank: int, world: int) -> None:
        self._plans, self._rank, self._world = plans, rank, world

    def __iter__(self) -> Iterator[tuple[Slot, ...]]:
        for plan in self._plans:
            yield from plan.packs[self._rank :: self._world]
