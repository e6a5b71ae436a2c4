"""What a stage is: it plans partitions, and makes a worker that turns one planned partition into committed files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from x2i.resources import Resources

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
    inputs: what the worker reads in addition to the plan: name -> digest (`Commit.outputs_digest` of the partition.
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
    """How many rows planning met and did not plan: reason -> number. Kept in the plan record and the run's summary."""

    counts: Mapping[str, int]


PlanItem = PlannedPartition | PlannedSightings | PlanCounts


@dataclass(frozen=True)
class Outcome:
    """What a worker made of one partition: the files it wrote (absolute paths) and what became of the rows.

    digests: the sha256, in hex, of those files that were summed up while they were written.
    seconds, busy_seconds: how long it took, and for how much of that a model was at work; 0 where nobody measured it.
    read_tokens, written_tokens: of a language model.
    """

    outputs: tuple[Path, ...]
    counts: Counts
    digests: Mapping[Path, str] = field(default_factory=dict)
    seconds: float = 0
    busy_seconds: float = 0
    read_tokens: int = 0
    written_tokens: int = 0


class Worker(Protocol):
    """Runs partitions in one process; it holds what is slow to make (a model, a connection pool)."""

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        """Writes the partition's outputs through x2i.store (atomically) and returns what it wrote.

        The bytes depend only on the arguments, the stage's config and the inputs named in the plan. An exception
        fails this partition alone.
        """
        ...


class Stage(Protocol):
    """A step of dataset construction. A frozen dataclass of plain values: it is sent to workers by pickle.

    name: the folder of its plans and commits. format_version: raised when the code would write other bytes.
    reads: what it reads of a dataset: "images", columns and relations by name. writes: "images", or the column or
    relation; "" for shards. A manifest's order follows from the two.

    Optional attributes: `resources: Resources`, what one worker needs (default: one core); `preload: tuple[str, ...]`,
    modules that worker processes share by importing them once, before they are forked; `shares: str`, stages with the
    same one that run side by side do each partition in one call, `together(workers, partition, rows)` of their workers,
    which returns each worker's Outcome or the exception that ended it.
    """

    @property
    def name(self) -> str: ...

    @property
    def format_version(self) -> int: ...

    @property
    def reads(self) -> Collection[str]: ...

    @property
    def writes(self) -> str: ...

    def config(self) -> Mapping[str, Any]:
        """Returns every option that decides what is planned or written, as JSON values."""
        ...

    def inputs(self, dataset: Dataset) -> Mapping[str, str]:
        """Returns what planning reads: name -> digest. Equal inputs and config let a recorded plan be used again."""
        ...

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        """Yields the partitions in order, sightings and counts.

        Raises UserError if something it needs has not been made.
        """
        ...

    def worker(self, root: Path) -> Worker:
        """Makes a worker for the dataset at `root`, in the process that will run it."""
        ...


def resources_of(stages: Iterable[Stage]) -> Resources:
    """Returns what a worker needs that runs partitions of all these stages: the largest of each resource."""
    needs = [getattr(stage, "resources", Resources()) for stage in stages]
    return Resources(
        max(need.cpus for need in needs), max(need.gpus for need in needs), max(need.gpu_memory_gb for need in needs)
    )


def preload_of(stages: Iterable[Stage]) -> list[str]:
    """Returns the modules that worker processes of these stages import before they are forked."""
    return sorted({module for stage in stages for module in getattr(stage, "preload", ())})
