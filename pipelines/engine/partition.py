"""What one process does with a partition: run it, write its outputs and, last, its commit; or record what failed it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.memory import keep_freed_memory
from pipelines.engine.plans import PlanEntry, read_planned
from pipelines.engine.stage import Stage, Worker
from x2i.store import paths
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
from x2i.store.files.atomic import remove_temporaries, write_json


@dataclass(frozen=True)
class WorkItem:
    """One partition of one stage, small enough to send anywhere."""

    stage: str
    entry: PlanEntry

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkItem:
        document = json.loads(text)
        return cls(document["stage"], PlanEntry(**document["entry"]))


@dataclass(frozen=True)
class Result:
    """What became of a work item: its counts, or the error that failed it."""

    stage: str
    partition: str
    counts: Counts
    error: str | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        document: dict[str, Any] = json.loads(text)
        return cls(**{**document, "counts": Counts(**document["counts"])})


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
        return failed_item(root, WorkItem(stage.name, entry), message, traceback.format_exc())
    return Result(stage.name, entry.id, outcome.counts)


def failed_item(root: Path, item: WorkItem, message: str, trace: str = "") -> Result:
    """Writes down why `item` could not be run, the last error of its partition, and returns its result."""
    document = {"stage": item.stage, "partition": item.entry.id, "error": message, "traceback": trace.splitlines()}
    write_json(paths.failure_file(root, item.stage, item.entry.id), document)
    return Result(item.stage, item.entry.id, Counts(), message)


class StageWorkers:
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
