"""A small real stage for testing the engine: it writes one column, slowly, and misbehaves on request."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.errors import UserError
from x2i.resources import Resources
from x2i.store import Dataset
from x2i.store.columns import write_column
from x2i.store.commits import Counts


@dataclass(frozen=True)
class SquareStage:
    """Writes squares of numbers. `raise_on` names a partition that throws, `die_on` some that kill their process; for
    want of what it `needs`, no worker can be made.
    """

    partitions: int = 4
    factor: int = 1
    seconds: float = 0.0
    raise_on: str = ""
    die_on: str = ""
    needs: str = ""
    name: str = "square"
    format_version: int = 1

    def config(self) -> Mapping[str, Any]:
        return {"factor": self.factor}

    def inputs(self, dataset: Dataset) -> Mapping[str, str]:
        return {"numbers": str(self.partitions)}

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        for number in range(self.partitions):
            keys = [f"{number:05d}-{row:05d}" for row in range(10)]
            rows = pa.table({"key": keys, "number": list(range(number * 10, number * 10 + 10))})
            yield PlannedPartition(f"{number:05d}", rows, self.config())

    def worker(self, root: Path) -> SquareWorker:
        if self.needs:
            raise UserError(f"square: needs {self.needs}")
        return SquareWorker(self, root)


class SquareWorker:
    def __init__(self, stage: SquareStage, root: Path) -> None:
        self._stage = stage
        self._root = root

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        time.sleep(self._stage.seconds)
        if partition == self._stage.raise_on:
            raise ValueError("a poisonous partition")
        if partition in self._stage.die_on.split(","):
            os.kill(os.getpid(), signal.SIGKILL)
        squares = [number * number * self._stage.factor for number in rows["number"].to_pylist()]
        path = write_column(self._root, self._stage.name, partition, pa.table({"key": rows["key"], "square": squares}))
        return Outcome((path,), Counts(ok=len(squares)))


@dataclass(frozen=True)
class DeviceStage(SquareStage):
    """Writes, for each partition, which process ran it and the CUDA_VISIBLE_DEVICES of that. `die_on` as above."""

    partitions: int = 6
    seconds: float = 0.3
    name: str = "device"
    resources: Resources = field(default_factory=Resources)

    def worker(self, root: Path) -> DeviceWorker:
        return DeviceWorker(self, root)


class DeviceWorker(SquareWorker):
    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        super().__call__(partition, rows)
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        table = pa.table({"key": rows["key"][:1], "pid": [os.getpid()], "device": [device]})
        path = write_column(self._root, "device", partition, table)
        return Outcome((path,), Counts(ok=rows.num_rows))


@dataclass(frozen=True)
class SharedStage(SquareStage):
    """Runs partitions together with other stages of this kind, and counts the calls in a file."""

    shares: str = "numbers"

    def worker(self, root: Path) -> SharedWorker:
        return SharedWorker(self, root)


class SharedWorker(SquareWorker):
    def together(
        self, workers: Sequence[SharedWorker], partition: str, rows: Sequence[pa.Table]
    ) -> list[Outcome | Exception]:
        with open(self._root / "logs" / "calls", "a") as stream:
            stream.write(f"{'+'.join(worker._stage.name for worker in workers)} {partition}\n")
        return [worker.outcome(partition, table) for worker, table in zip(workers, rows, strict=True)]

    def outcome(self, partition: str, rows: pa.Table) -> Outcome | Exception:
        try:
            return self(partition, rows)
        except ValueError as error:
            return error


if __name__ == "__main__":
    from tests.support.toy_stage import SquareStage as Square  # a class of this script is not found by a worker

    root, executor = Path(sys.argv[1]), Executor(sys.argv[2])
    execute([Square(partitions=8, seconds=0.15)], Dataset.create(root, "toy"), RunOptions(executor=executor, workers=2))
