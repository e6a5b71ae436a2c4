"""What one process does with a partition: run it, write its outputs and, last, its commit."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.engine.memory import keep_freed_memory
from pipelines.engine.stage import Stage, Worker
from x2i.store import paths
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
from x2i.store.files.atomic import remove_temporaries, write_json
from x2i.store.files.remote import dataset_path
from x2i.store.plans import PlanEntry, read_planned


@dataclass(frozen=True)
class WorkItem:
    """One partition of one stage, small enough to send anywhere."""

    stage: str
    entry: PlanEntry


@dataclass(frozen=True)
class Result:
    """What became of a work item: its counts, or the error that failed it, with Python's traceback of it."""

    stage: str
    partition: str
    counts: Counts
    error: str | None = None
    traceback: str = ""


OnResult = Callable[[Result], None]


class StageWorkers:
    """Runs partitions of any of `stages`: makes each stage's worker on first use and keeps it."""

    def __init__(self, root: Path, stages: Mapping[str, Stage]) -> None:
        self._root = root
        self._stages = stages
        self._workers: dict[str, Worker] = {}
        keep_freed_memory()

    def run(self, item: WorkItem) -> Result:
        """Runs one partition. What it raises becomes the error of the result; a worker that cannot be made raises."""
        stage = self._stages[item.stage]
        if item.stage not in self._workers:
            self._workers[item.stage] = stage.worker(self._root)
        try:
            counts = _run_partition(self._root, stage, self._workers[item.stage], item.entry)
        except Exception as error:  # noqa: BLE001  any fault of one partition costs that partition alone
            return failed(item, error)
        return Result(stage.name, item.entry.id, counts)


class PartitionRunner:
    """Runs partitions in a worker process; everything that goes wrong there becomes the result of a partition.

    stages: a pickled dictionary, name -> Stage. It is loaded on first use, so that a stage that cannot be loaded fails
    its partitions and not its process.
    """

    def __init__(self, root: str, stages: bytes) -> None:
        self._root = root
        self._stages = stages
        self._workers: StageWorkers | None = None

    def run(self, item: WorkItem) -> Result:
        try:
            if self._workers is None:
                self._workers = StageWorkers(dataset_path(self._root), pickle.loads(self._stages))
            return self._workers.run(item)
        except Exception as error:  # noqa: BLE001  as above
            return failed(item, error)


def failed(item: WorkItem, error: Exception) -> Result:
    """Returns the result of an item that raised `error`."""
    trace = "".join(traceback.format_exception(error))
    return Result(item.stage, item.entry.id, Counts(), f"{type(error).__name__}: {error}", trace)


def record_failure(root: Path, result: Result) -> None:
    """Writes failures/<stage>/<partition>.json: the last error of a partition. Its commit deletes it."""
    document = {name: getattr(result, name) for name in ("stage", "partition", "error")}
    path = paths.failure_file(root, result.stage, result.partition)
    write_json(path, {**document, "traceback": result.traceback.splitlines()})


def _run_partition(root: Path, stage: Stage, worker: Worker, entry: PlanEntry) -> Counts:
    outcome = worker(entry.id, read_planned(root, stage.name, entry))
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
    return outcome.counts
