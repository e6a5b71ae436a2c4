"""What a stage is: it plans partitions, and makes a worker that turns one planned partition into committed files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from x2i.store import Dataset
    from x2i.store.commits import Counts


@dataclass(frozen=True)
class PlannedPartition:
    """One unit of work, decided before any work is paid for.

    id: the partition's name: "00000", or a shard name such as "canny_to_image-1in-00000".
    rows: the plan; written to plans/<stage>/<id>.parquet and handed to the worker.
    config: what else decides the partition's bytes (JSON values).
    inputs: what the worker reads beside the plan: name -> digest (`Commit.outputs_digest` of the partition read).
    """

    id: str
    rows: pa.Table
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedSightings:
    """Rows that belong to a plan and to no partition: where else the sources name what is planned or stored already.

    Pieces are written one after another to sightings/<stage>.parquet; all have one schema.
    """

    rows: pa.Table


@dataclass(frozen=True)
class PlanCounts:
    """What a plan's record and the summary of a run tell beside its partitions: name -> number."""

    counts: Mapping[str, int]


PlanItem = PlannedPartition | PlannedSightings | PlanCounts


@dataclass(frozen=True)
class Outcome:
    """What a worker made of one partition: the files it wrote (absolute paths) and what became of the rows.

    digests: the sha256, in hex, of those files that were summed up while they were written.
    """

    outputs: tuple[Path, ...]
    counts: Counts
    digests: Mapping[Path, str] = field(default_factory=dict)


class Worker(Protocol):
    """Runs partitions in one process; it holds what is dear to make (a model, a connection pool)."""

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        """Writes the partition's outputs through x2i.store (atomically) and says what it wrote.

        The bytes depend only on the arguments, the stage's config and the inputs named in the plan. An exception
        fails this partition alone.
        """
        ...


class Stage(Protocol):
    """A step of dataset construction. A frozen dataclass of plain values: it is sent to workers by pickle.

    name: the folder of its plans and commits. format_version: raised when the code would write other bytes.
    """

    @property
    def name(self) -> str: ...

    @property
    def format_version(self) -> int: ...

    def config(self) -> Mapping[str, Any]:
        """Returns every option that decides what is planned or written, as JSON values."""
        ...

    def inputs(self, dataset: Dataset) -> Mapping[str, str]:
        """Returns what planning reads: name -> digest. Equal inputs and config let a recorded plan be used again."""
        ...

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        """Yields the partitions in order, and what belongs to the plan beside them.

        Raises UserError if something it needs has not been made.
        """
        ...

    def worker(self, root: Path) -> Worker:
        """Makes a worker for the dataset at `root`, in the process that will run it."""
        ...


def threads_of(stage: Stage) -> int:
    """Returns how many threads a worker of `stage` may keep busy: its attribute `threads`, 1 if it has none.

    Ray gives it as many CPUs; worker processes of one machine share all of it.
    """
    return int(getattr(stage, "threads", 1))


@dataclass(frozen=True)
class Skipped:
    """A stage that has nothing to work with says so instead of pretending: for example no backend is configured."""

    stage: str
    why: str
