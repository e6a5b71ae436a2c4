"""Where partitions run: in Ray worker processes, or in this process. Both run the same function on each."""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pipelines.interrupt import children_end_with_us
from pipelines.ledger import PlanEntry
from pipelines.stage import Stage, Worker
from x2i.store import paths
from x2i.store.atomic import TEMPORARY_MARK, write_json
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit

if TYPE_CHECKING:
    import numpy as np

TASK_RETRIES = 1
PASSES = 2


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
        rows = pq.read_table(paths.plan_file(root, stage.name, entry.id))
        outcome = worker(entry.id, rows)
        for path in outcome.outputs:
            for leftover in path.parent.glob(f"{path.name}{TEMPORARY_MARK}*"):
                leftover.unlink(missing_ok=True)
        commit = Commit(
            stage=stage.name,
            partition=entry.id,
            format_version=stage.format_version,
            config=entry.config,
            inputs=entry.inputs,
            plan=entry.plan,
            outputs=describe_outputs(root, outcome.outputs),
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

    def run(self, item: WorkItem) -> Result:
        stage = self._stages[item.stage]
        if item.stage not in self._workers:
            self._workers[item.stage] = stage.worker(self._root)
        return run_partition(self._root, stage, self._workers[item.stage], item.entry)


class InlineExecutor:
    """Runs partitions one after the other in this process: for tests, small datasets and debuggers."""

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        pool = WorkerPool(root, stages)
        for item in items:
            on_result(pool.run(item))


class RayExecutor:
    """Runs partitions as rows of a Ray Data dataset mapped by a pool of actors.

    Scheduling, backpressure, restarts and multi-node are Ray's work. A partition that kills its actor is tried again
    and then costs itself alone; one that was lost because its actor died under another gets a second pass.

    address: an existing cluster, or None for a local one. workers: actors at most; None means one per CPU.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._address = address
        self._workers = workers

    def run(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        if not items:
            return
        with nullcontext() if self._address else children_end_with_us():
            self._connect()
            with nullcontext() if self._address else children_end_with_us():  # Ray has just set a handler of its own
                self._map(root, stages, items, on_result)

    def _map(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem], on_result: OnResult) -> None:
        missing = {(item.stage, item.entry.id): item for item in items}
        for _ in range(PASSES):
            for result in self._results(root, stages, list(missing.values())):
                missing.pop((result.stage, result.partition), None)
                on_result(result)
            if not missing:
                return
        for item in missing.values():
            message = f"the worker process died {PASSES * (TASK_RETRIES + 1)} times on this partition"
            record_failure(root, item.stage, item.entry.id, message)
            on_result(Result(item.stage, item.entry.id, Counts(), message))

    def _results(self, root: Path, stages: Mapping[str, Stage], items: Sequence[WorkItem]) -> Iterator[Result]:
        """Maps `items` once and yields the results as they come; an item whose worker died too often has none."""
        import ray

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1
        actors = min(len(items), self._workers or max(1, int(ray.cluster_resources().get("CPU", 1)) - 1))
        rows = [{"item": json.dumps(asdict(item))} for item in items]
        with warnings.catch_warnings():
            # Ray 2.60 announces that capped restarts will be passed another way, and does not offer that way yet.
            warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
            results = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _PartitionActor,
                fn_constructor_args=(str(root), dict(stages)),
                batch_size=1,
                # One task at a time: a partition that waits behind a poisonous one would die with it.
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, max_tasks_in_flight_per_actor=1),
                num_cpus=1,
                max_restarts=-1,  # bounded by the retries: an actor that used up its restarts would stall the rest
                max_task_retries=TASK_RETRIES,
            )
        for row in results.iter_rows():
            yield _decode_result(row["result"])

    def _connect(self) -> None:
        import logging

        import ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
        # Ray's core warns about every actor with constructor arguments; its own log files keep what it has to say.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        options: dict[str, Any] = {"address": self._address or "local"}
        if not self._address:
            # One logical CPU above the actors, so that Ray Data's own tasks never wait for one.
            options["num_cpus"] = (self._workers or os.cpu_count() or 1) + 1
            options |= {"include_dashboard": False, "object_store_memory": 256 * 2**20}
        with _without_native_chatter():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)


@contextmanager
def _without_native_chatter() -> Iterator[None]:
    """Keeps what Ray's C++ core prints while it starts off the screen; what goes wrong there is raised in Python."""
    sys.stderr.flush()
    screen = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(nowhere)
        os.close(screen)


class _PartitionActor:
    """The callable that Ray Data keeps alive in each worker process: a batch is one work item."""

    def __init__(self, root: str, stages: dict[str, Stage]) -> None:
        self._pool = WorkerPool(Path(root), stages)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        items = [json.loads(text) for text in batch["item"]]
        results = [self._pool.run(WorkItem(item["stage"], PlanEntry(**item["entry"]))) for item in items]
        return {"result": [json.dumps(asdict(result)) for result in results]}


def _decode_result(text: str) -> Result:
    document: dict[str, Any] = json.loads(text)
    return Result(**{**document, "counts": Counts(**document["counts"])})
