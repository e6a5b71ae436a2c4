"""Where partitions run: in this process, in worker processes of this machine, or in Ray's, all by the same function."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.engine.executors.gpus import deal, fitting, gpu_share, smallest_gpu_gb, visible_gpus
from pipelines.engine.executors.pool import run_batches
from pipelines.engine.interrupt import end_children_on_signals
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.partition import Batch, OnResult, Result, StageWorkers
from pipelines.engine.stage import Stage, preload_of, resources_of
from x2i.store.files.atomic import write_bytes
from x2i.store.files.locks import lock_file


class PartitionExecutor(Protocol):
    """Runs batches of work items and reports each item as it ends."""

    def prepare(self, stages: Sequence[Stage]) -> None:
        """Starts what takes its time to start, while the stages are planned."""
        ...

    def run(self, root: Path, stages: Mapping[str, Stage], batches: Sequence[Batch], on_result: OnResult) -> None: ...


@contextmanager
def open_executor(options: RunOptions) -> Iterator[PartitionExecutor]:
    """Opens the executor that `options` name. It serves any number of runs; its connection to Ray ends with it."""
    if options.executor is Executor.INLINE:
        yield InlineExecutor()
    elif options.executor is Executor.RAY or options.address is not None:
        from pipelines.engine.executors.ray_actors import RayExecutor

        with RayExecutor(options.address, options.workers, options.gpus) as executor:
            yield executor
    elif options.executor is Executor.PROCESSES:
        with end_children_on_signals():  # the fork server runs from the planning of a stage on
            yield ProcessExecutor(options.workers, options.gpus)
    else:
        yield AutoExecutor(options.workers, options.gpus)


def start_workers_early(options: RunOptions, stages: Sequence[Stage]) -> None:
    """Lets worker processes import what they need from now on, where `options` allow them: for commands that expect to
    plan several partitions.
    """
    allowed = options.executor in (Executor.AUTO, Executor.PROCESSES) and options.address is None
    if allowed and options.workers != 1 and not options.dry_run:
        ProcessExecutor().prepare(stages)


@dataclass(frozen=True)
class InlineExecutor:
    """Runs partitions one after the other in this process.

    While it works, a file among the dataset's locks says so: one that is found later tells that the process died.
    """

    def prepare(self, stages: Sequence[Stage]) -> None:
        """Does nothing."""

    def run(self, root: Path, stages: Mapping[str, Stage], batches: Sequence[Batch], on_result: OnResult) -> None:
        marks = _inline_marks(root, stages)
        for mark in marks:
            write_bytes(mark, b"")
        try:
            workers = StageWorkers(root, stages)
            for batch in batches:
                for result in workers.run(batch):
                    on_result(result)
        finally:
            for mark in marks:
                mark.unlink(missing_ok=True)


@dataclass(frozen=True)
class ProcessExecutor:
    """Runs partitions in worker processes of this machine.

    workers, gpus: at most; None means as many as there are cores and GPUs for.
    """

    workers: int | None = None
    gpus: int | None = None

    def prepare(self, stages: Sequence[Stage]) -> None:
        from pipelines.engine.executors.processes import start_fork_server

        start_fork_server(preload_of(stages))

    def run(self, root: Path, stages: Mapping[str, Stage], batches: Sequence[Batch], on_result: OnResult) -> None:
        from pipelines.engine.executors.processes import ProcessPool

        self.prepare([*stages.values()])
        size, devices = self.placement(stages, len(batches))
        with end_children_on_signals():
            run_batches(ProcessPool(root, pickle.dumps(dict(stages)), devices), size, batches, on_result)

    def placement(self, stages: Mapping[str, Stage], batches: int) -> tuple[int, list[str] | None]:
        """Returns how many workers fit this machine and have something to do, and the GPUs of each.

        On a machine without GPUs, stages that want one get one worker without.
        """
        needs = resources_of(stages.values())
        size = min(batches, self.workers or max(1, fitting(os.cpu_count() or 1, needs.cpus) if needs.cpus else batches))
        if not (needs.gpus or needs.gpu_memory_gb):
            return size, None
        devices = deal(visible_gpus(self.gpus), gpu_share(needs, smallest_gpu_gb()))
        return (min(size, len(devices)), devices) if devices else (1, None)


@dataclass(frozen=True)
class AutoExecutor:
    """Worker processes where there is work for several, this process where there is not.

    After a run that died in its own process there is one in any case: a partition that kills it costs itself alone.
    """

    workers: int | None = None
    gpus: int | None = None

    def prepare(self, stages: Sequence[Stage]) -> None:
        """Does nothing: whether there is work for several is known when the stages are planned."""

    def run(self, root: Path, stages: Mapping[str, Stage], batches: Sequence[Batch], on_result: OnResult) -> None:
        marks = _inline_marks(root, stages)
        processes = ProcessExecutor(self.workers, self.gpus)
        if processes.placement(stages, len(batches))[0] == 1 and not any(mark.exists() for mark in marks):
            InlineExecutor().run(root, stages, batches, on_result)
            return
        failures = 0

        def count_failures(result: Result) -> None:
            nonlocal failures
            failures += result.error is not None
            on_result(result)

        processes.run(root, stages, batches, count_failures)
        if not failures:
            for mark in marks:
                mark.unlink(missing_ok=True)


def _inline_marks(root: Path, stages: Mapping[str, Stage]) -> list[Path]:
    return [lock_file(root, f"{name}.inline") for name in stages]
