"""Where partitions run: in this process, in worker processes of this machine, or in Ray's, all by the same function."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pipelines.engine.executors.pool import share_out
from pipelines.engine.interrupt import children_end_with_us
from pipelines.engine.partition import OnResult, Result, StageWorkers, WorkItem
from pipelines.engine.stage import Stage, threads_of
from x2i.store.files.atomic import write_bytes
from x2i.store.files.locks import lock_file


class PartitionExecutor(Protocol):
    """Runs work items and tells of each as it ends."""

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None: ...


class InlineExecutor:
    """Runs partitions one after the other in this process.

    While it works, a file among the dataset's locks says so: one that is found later tells that the process died.
    """

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        if not items:
            return
        marks = _inline_marks(root, stages)
        for mark in marks:
            write_bytes(mark, b"")
        try:
            workers = StageWorkers(root, stages)
            for item in items:
                on_result(workers.run(item))
        finally:
            for mark in marks:
                mark.unlink(missing_ok=True)


class ProcessExecutor:
    """Runs partitions in worker processes of this machine.

    workers: at most; None means as many as the CPUs have room for.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        if not items:
            return
        from pipelines.engine.executors.processes import ProcessCrew

        with children_end_with_us():
            share_out(ProcessCrew(root, stages), local_workers(items, self._workers), root, items, on_result)


class AutoExecutor:
    """Worker processes where there is work for several, this process where there is not.

    After a run that died in its own process there is one in any case: a partition that kills it costs itself alone.

    workers: as the user asked for, or None.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        if not items:
            return
        marks = _inline_marks(root, stages)
        if local_workers(items, self._workers) == 1 and not any(mark.exists() for mark in marks):
            InlineExecutor().run(root, stages, items, on_result)
            return
        failed = 0

        def count_failures(result: Result) -> None:
            nonlocal failed
            failed += result.error is not None
            on_result(result)

        ProcessExecutor(self._workers).run(root, stages, items, count_failures)
        if not failed:
            for mark in marks:
                mark.unlink(missing_ok=True)


class RayExecutor:
    """Runs partitions in Ray actors, one process each, on this machine or on a whole cluster.

    address: an existing cluster, or None for a local one. workers: actors at most; None means as many as the CPUs have
    room for.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._address = address
        self._workers = workers

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        if not items:
            return
        from pipelines.engine.executors.ray_actors import RayCrew, cluster_cpus

        threads = max(threads_of(stage) for stage in stages.values())
        if self._address:
            self._connect()
            size = self._workers or max(1, cluster_cpus() // threads)
            share_out(RayCrew(root, stages, threads), size, root, items, on_result)
            return
        size = local_workers(items, self._workers, threads)
        with children_end_with_us():
            self._connect(size)
            with children_end_with_us():  # Ray has just set a handler of its own
                # Here placement is no question, and a stage must not wait for CPUs that Ray does not count.
                share_out(RayCrew(root, stages, cpus=0), size, root, items, on_result)

    def _connect(self, workers: int = 1) -> None:
        import ray

        from pipelines.engine.executors.local_ray import connect_ray, start_ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray's core warns about every actor with constructor arguments; its own log files keep what it has to say.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        if self._address:
            connect_ray(self._address)
        else:
            start_ray(workers)


def local_workers(items: Sequence[WorkItem], wanted: int | None, threads: int = 1) -> int:
    """Returns how many worker processes have something to do on this machine; as many as `wanted` if that is given.

    threads: how many cores a worker is given to itself.
    """
    return min(len(items), wanted or max(1, (os.cpu_count() or 1) // threads))


def _inline_marks(root: Path, stages: Mapping[str, Stage]) -> list[Path]:
    return [lock_file(root, f"{name}.inline") for name in stages]
