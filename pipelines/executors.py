"""Where partitions run: in Ray worker processes, or in this process. Both run the same function on each."""

from __future__ import annotations

import json
import os
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.interrupt import children_end_with_us
from pipelines.local_ray import connect_ray, start_ray
from pipelines.memory import keep_freed_memory
from pipelines.plans import PlanEntry, read_planned
from pipelines.stage import Stage, Worker, threads_of
from x2i.errors import UserError
from x2i.store import paths
from x2i.store.atomic import remove_temporaries, write_bytes, write_json
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
from x2i.store.remote import dataset_path, lock_file

LOOK_AROUND = 10.0
"""Seconds without a result after which it is asked whether Ray is still there."""
TRIES = 3


@dataclass(frozen=True)
class WorkItem:
    """One partition of one stage, small enough to send anywhere."""

    stage: str
    entry: PlanEntry


@dataclass(frozen=True)
class Result:
    """What became of a work item: its counts, or the error that failed it."""

    stage: str
    partition: str
    counts: Counts
    error: str | None = None


OnResult = Callable[[Result], None]


def run_partition(root: Path, stage: Stage, worker: Worker, entry: PlanEntry) -> Result:
    """Runs one partition, writes its outputs and, last, its commit. An exception becomes its failure record."""
    try:
        rows = read_planned(root, stage.name, entry)
        outcome = worker(entry.id, rows)
        for path in outcome.outputs:
            remove_temporaries(path.parent, path.name)
        commit = Commit(
            stage=stage.name,
            partition=entry.id,
            format_version=stage.format_version,
            config=entry.config,
            inputs=entry.inputs,
            plan=entry.plan,
            outputs=describe_outputs(root, outcome.outputs, outcome.digests),
            counts=outcome.counts,
        )
        write_commit(root, commit)
    except Exception as error:  # noqa: BLE001  any fault of one partition is recorded and costs that partition alone
        message = f"{type(error).__name__}: {error}"
        record_failure(root, stage.name, entry.id, message, traceback.format_exc())
        return Result(stage.name, entry.id, Counts(), message)
    return Result(stage.name, entry.id, outcome.counts)


def record_failure(root: Path, stage: str, partition: str, message: str, trace: str = "") -> None:
    """Writes the last error of a partition that did not finish."""
    document = {"stage": stage, "partition": partition, "error": message, "traceback": trace.splitlines()}
    write_json(paths.failure_file(root, stage, partition), document)


class WorkerPool:
    """Makes each stage's worker on first use and keeps it: one of these lives in every process that runs partitions."""

    def __init__(self, root: Path, stages: Mapping[str, Stage]) -> None:
        self._root = root
        self._stages = stages
        self._workers: dict[str, Worker] = {}
        keep_freed_memory()

    def run(self, item: WorkItem) -> Result:
        stage = self._stages[item.stage]
        if item.stage not in self._workers:
            self._workers[item.stage] = stage.worker(self._root)
        return run_partition(self._root, stage, self._workers[item.stage], item.entry)


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
            pool = WorkerPool(root, stages)
            for item in items:
                on_result(pool.run(item))
        finally:
            for mark in marks:
                mark.unlink(missing_ok=True)


class AutoExecutor:
    """Ray where it has work to spread, this process where it has not.

    Starting and ending Ray takes seconds and hundreds of MB, which bring nothing while one worker is all that the
    work or the machine has room for. After a run that died in its own process, Ray is used in any case: there, a
    partition that kills its process costs itself alone.

    workers: as the user asked for, or None.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        if not items:
            return
        marks = _inline_marks(root, stages)
        if local_workers(stages, items, self._workers) == 1 and not any(mark.exists() for mark in marks):
            InlineExecutor().run(root, stages, items, on_result)
            return
        failed = 0

        def count_failures(result: Result) -> None:
            nonlocal failed
            failed += result.error is not None
            on_result(result)

        RayExecutor(workers=self._workers).run(root, stages, items, count_failures)
        if not failed:
            for mark in marks:
                mark.unlink(missing_ok=True)


def local_workers(stages: Mapping[str, Stage], items: Sequence[WorkItem], wanted: int | None) -> int:
    """Returns how many worker processes have something to do on this machine; as many as `wanted` if that is given."""
    threads = max(threads_of(stage) for stage in stages.values())
    return min(len(items), wanted or max(1, (os.cpu_count() or 1) // threads))


def _inline_marks(root: Path, stages: Mapping[str, Stage]) -> list[Path]:
    return [lock_file(root, f"{name}.inline") for name in stages]


class RayExecutor:
    """Runs partitions in a pool of Ray actors, one process each, on this machine or on a whole cluster.

    Placement, scaling and the death of processes and machines are Ray's work; an actor holds one partition at a time,
    so one that kills its process is tried again, in a fresh process, and in the end costs itself alone.

    address: an existing cluster, or None for a local one. workers: actors at most; None means as many as
    the CPUs have room for.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._address = address
        self._workers = workers

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        if not items:
            return
        threads = max(threads_of(stage) for stage in stages.values())
        with nullcontext() if self._address else children_end_with_us():
            self._connect(local_workers(stages, items, self._workers))
            with nullcontext() if self._address else children_end_with_us():  # Ray has just set a handler of its own
                self._map(root, stages, items, on_result, threads)

    def _map(
        self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult, threads: int
    ) -> None:
        import ray

        # On this machine alone placement is no question, and a stage must not wait for CPUs that Ray does not count.
        actor = ray.remote(num_cpus=threads if self._address else 0, max_restarts=0)(PartitionActor)
        stages_ref = ray.put(dict(stages))
        limit = local_workers(stages, items, self._workers)
        if self._address:
            limit = min(len(items), self._workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads))
        idle = [actor.remote(str(root), stages_ref) for _ in range(limit)]
        waiting, tries = deque(items), Counter[tuple[str, str]]()
        running: dict[Any, tuple[Any, WorkItem]] = {}
        while waiting or running:
            while waiting and idle:
                item, worker = waiting.popleft(), idle.pop()
                running[worker.run.remote(json.dumps(asdict(item)))] = worker, item
            done = _wait_for_one(list(running))
            worker, item = running.pop(done[0])
            try:
                result = _decode_result(ray.get(done[0]))
            except ray.exceptions.RayActorError:
                # An actor takes a new place in the pool: Ray frees what the dead one held.
                idle.append(actor.remote(str(root), stages_ref))
                tries[item.stage, item.entry.id] += 1
                if tries[item.stage, item.entry.id] < TRIES:
                    waiting.append(item)
                    continue
                result = _failure(root, item, f"the worker process died {TRIES} times on this partition")
            except ray.exceptions.RayTaskError as error:
                idle.append(worker)
                result = _failure(root, item, f"{type(error.cause).__name__}: {error.cause}", str(error))
            else:
                idle.append(worker)
            on_result(result)
        for worker in idle:
            ray.kill(worker)

    def _connect(self, workers: int) -> None:
        import ray

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


def _wait_for_one(running: list[Any]) -> list[Any]:
    """Returns a result of `running` as soon as there is one. Raises UserError if there is no machine left to give it.

    Ray itself would wait for ever: without the process that starts its workers it cannot replace one.
    """
    import ray

    while True:
        done, _ = ray.wait(running, num_returns=1, timeout=LOOK_AROUND)
        if done:
            return done
        if not any(node["Alive"] for node in ray.nodes()):
            raise UserError("Ray's own process has died; what is committed stays: run the same command again")


class PartitionActor:
    """What Ray keeps alive in each worker process."""

    def __init__(self, root: str, stages: dict[str, Stage]) -> None:
        self._pool = WorkerPool(dataset_path(root), stages)

    def run(self, item: str) -> str:
        """Runs a work item, and returns its result; both are JSON, so that Ray has no class of ours to know."""
        document = json.loads(item)
        result = self._pool.run(WorkItem(document["stage"], PlanEntry(**document["entry"])))
        return json.dumps(asdict(result))


def _failure(root: Path, item: WorkItem, message: str, trace: str = "") -> Result:
    record_failure(root, item.stage, item.entry.id, message, trace)
    return Result(item.stage, item.entry.id, Counts(), message)


def _decode_result(text: str) -> Result:
    document: dict[str, Any] = json.loads(text)
    return Result(**{**document, "counts": Counts(**document["counts"])})
