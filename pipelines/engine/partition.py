"""What one process does with a partition: run it, write its outputs and, last, its commit."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.memory import keep_freed_memory
from pipelines.engine.stage import Outcome, Stage
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
    """What became of a work item: its counts, or the error that failed it, with Python's traceback of it.

    seconds, busy_seconds, read_tokens, written_tokens: as in `Outcome`.
    """

    stage: str
    partition: str
    counts: Counts
    error: str | None = None
    traceback: str = ""
    seconds: float = 0
    busy_seconds: float = 0
    read_tokens: int = 0
    written_tokens: int = 0


Batch = tuple[WorkItem, ...]
"""Items that one worker runs together: the same partition of stages that share their inputs; mostly a single item."""
OnResult = Callable[[Result], None]


class StageWorkers:
    """Runs partitions of any of `stages`: makes each stage's worker on first use and keeps it."""

    def __init__(self, root: Path, stages: Mapping[str, Stage]) -> None:
        self._root = root
        self._stages = stages
        self._workers: dict[str, Any] = {}
        keep_freed_memory()

    def run(self, batch: Batch) -> list[Result]:
        """Runs a batch and commits it. What a partition raises becomes its error; a worker that cannot be made raises.

        A batch that fails as a whole is run again item by item.
        """
        workers = [self._worker(item.stage) for item in batch]
        try:
            rows = [read_planned(self._root, item.stage, item.entry) for item in batch]
            partition = batch[0].entry.id
            outcomes = (
                [workers[0](partition, rows[0])] if len(batch) == 1 else workers[0].together(workers, partition, rows)
            )
        except Exception as error:  # noqa: BLE001  any fault of one partition costs that partition alone
            if len(batch) == 1:
                return [failed(batch[0], error)]
            return [result for item in batch for result in self.run((item,))]
        return [self._committed(item, outcome) for item, outcome in zip(batch, outcomes, strict=True)]

    def _worker(self, stage: str) -> Any:
        if stage not in self._workers:
            self._workers[stage] = self._stages[stage].worker(self._root)
        return self._workers[stage]

    def _committed(self, item: WorkItem, outcome: Outcome | Exception) -> Result:
        if isinstance(outcome, Exception):
            return failed(item, outcome)
        try:
            _commit(self._root, self._stages[item.stage], item.entry, outcome)
        except Exception as error:  # noqa: BLE001  as above
            return failed(item, error)
        return Result(
            item.stage, item.entry.id, outcome.counts, seconds=outcome.seconds, busy_seconds=outcome.busy_seconds,
            read_tokens=outcome.read_tokens, written_tokens=outcome.written_tokens,
        )  # fmt: skip


class PartitionRunner:
    """Runs batches in a worker process; everything that goes wrong there becomes the result of a partition.

    stages: a pickled dictionary, name -> Stage. It is loaded on first use, so that a stage that cannot be loaded fails
    its partitions and not its process.
    """

    def __init__(self, root: str, stages: bytes) -> None:
        self._root = root
        self._stages = stages
        self._workers: StageWorkers | None = None

    def run(self, batch: Batch) -> list[Result]:
        try:
            if self._workers is None:
                self._workers = StageWorkers(dataset_path(self._root), pickle.loads(self._stages))
            return self._workers.run(batch)
        except Exception as error:  # noqa: BLE001  as above
            if len(batch) == 1:
                return [failed(batch[0], error)]
            return [result for item in batch for result in self.run((item,))]


def failed(item: WorkItem, error: Exception) -> Result:
    """Returns the result of an item that raised `error`."""
    trace = "".join(traceback.format_exception(error))
    return Result(item.stage, item.entry.id, Counts(), f"{type(error).__name__}: {error}", trace)


def record_failure(root: Path, result: Result) -> None:
    """Writes failures/<stage>/<partition>.json: the last error of a partition. Its commit deletes it."""
    document = {name: getattr(result, name) for name in ("stage", "partition", "error")}
    path = paths.failure_file(root, result.stage, result.partition)
    write_json(path, {**document, "traceback": result.traceback.splitlines()})


def _commit(root: Path, stage: Stage, entry: PlanEntry, outcome: Outcome) -> None:
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
