"""A stage's plan on disk: one Parquet file per partition, and, written last, the record that makes the plan valid."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.engine.stage import PlanCounts, PlannedPartition, PlannedSightings, Stage
from x2i.errors import UserError
from x2i.sample import canonical_json
from x2i.store import Dataset, paths
from x2i.store.commits import fingerprint
from x2i.store.files.atomic import TableFile, read_table, write_bytes, write_table
from x2i.store.files.remote import file_sizes, list_files
from x2i.store.files.table_digest import rows_digest

WRITERS = 2
WAITING = 16
"""Partitions that are planned and not yet written, at most."""


@dataclass(frozen=True)
class PlanEntry:
    """One planned partition as the plan record keeps it.

    plan: the digest of its rows; rows: their number; size: of its file, in bytes (None: not written).
    """

    id: str
    rows: int
    plan: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    size: int | None = None


@dataclass(frozen=True)
class Plan:
    """A stage's plan: what it was made from, its partitions in order, and what its stage counted beside them."""

    stage: str
    format_version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    entries: tuple[PlanEntry, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    def fingerprint(self, entry: PlanEntry) -> str:
        return fingerprint(self.stage, self.format_version, entry.config, entry.inputs, entry.plan)


def recorded_plan(dataset: Dataset, stage: Stage) -> Plan | None:
    """Returns the plan on disk if it was made from the same config and inputs: planning is not repeated."""
    plan = read_plan(dataset.root, stage.name)
    if plan is None or plan.format_version != stage.format_version:
        return None
    same = normalized(plan.config) == normalized(stage.config()) and dict(plan.inputs) == dict(stage.inputs(dataset))
    return plan if same else None


def read_plan(root: Path, stage: str) -> Plan | None:
    """Returns the plan record of `stage`, or None if it was never planned to the end.

    Raises UserError if the record is damaged.
    """
    path = paths.plan_record(root, stage)
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
        shared = document.pop("partition_config", None)
        entries = tuple(PlanEntry(**{"config": shared, "inputs": {}, **entry}) for entry in document.pop("entries"))
        return Plan(**document, entries=entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "delete it and run the stage again; what is done stays done"
        raise UserError(f"{path}: damaged plan record ({error!r}): {remedy}") from error


def write_plan(dataset: Dataset, stage: Stage) -> Plan:
    """Plans `stage` afresh: every partition's rows as Parquet, then, last, the record that makes the plan valid.

    The files of the plan are not fsynced one by one: the record keeps their digests, which are checked before use.
    """
    root = dataset.root
    paths.plan_record(root, stage.name).unlink(missing_ok=True)
    counts: dict[str, int] = {}
    entries: list[PlanEntry] = []
    pending: deque[Future[PlanEntry]] = deque()
    with ThreadPoolExecutor(WRITERS) as pool, TableFile(paths.sightings_file(root, stage.name)) as sightings:
        for item in stage.plan(dataset):
            if isinstance(item, PlannedSightings):
                sightings.append(item.rows)
            elif isinstance(item, PlanCounts):
                counts.update(item.counts)
            else:
                pending.append(pool.submit(_write_entry, root, stage.name, item))
            while len(pending) > WAITING:
                entries.append(_sharing(pending.popleft().result(), entries))
        entries += [_sharing(future.result(), entries) for future in pending]
    if not sightings.rows:
        paths.sightings_file(root, stage.name).unlink(missing_ok=True)
    plan = _plan(dataset, stage, entries, counts)
    _remove_strays(root, plan)
    write_record(root, plan)
    return plan


def write_record(root: Path, plan: Plan) -> None:
    """Writes the record of a plan whose partitions are on disk as it says."""
    write_bytes(paths.plan_record(root, plan.stage), _record_text(plan).encode())


def preview_plan(dataset: Dataset, stage: Stage) -> Plan:
    """Plans `stage` without writing anything: what `--dry-run` shows."""
    counts: dict[str, int] = {}
    entries = []
    for item in stage.plan(dataset):
        if isinstance(item, PlanCounts):
            counts.update(item.counts)
        elif isinstance(item, PlannedPartition):
            entries.append(_entry(item))
    return _plan(dataset, stage, entries, counts)


def is_plan_whole(dataset: Dataset, plan: Plan, entries: Sequence[PlanEntry]) -> bool:
    """Whether the files of `entries` are there with the sizes on record, or with what was planned at another size.

    Of a file with the right size, whether it holds what was planned is asked by the one who reads it (`read_planned`).
    """
    if not entries:
        return True
    sizes = file_sizes(paths.plan_file(dataset.root, plan.stage, entries[0].id).parent)
    for entry in entries:
        path = paths.plan_file(dataset.root, plan.stage, entry.id)
        size = sizes.get(path.name)
        if size is None or (size != entry.size and _planned_rows(path, entry) is None):
            return False
    return True


def read_planned(root: Path, stage: str, entry: PlanEntry) -> pa.Table:
    """Returns the planned rows of a partition.

    Raises ValueError if its file does not hold what was planned; it is deleted, so that the next run plans anew.
    """
    path = paths.plan_file(root, stage, entry.id)
    rows = _planned_rows(path, entry)
    if rows is None:
        path.unlink(missing_ok=True)
        raise ValueError(f"{path.name}: the planned rows were damaged on disk; the same command plans them again")
    return rows


def _planned_rows(path: Path, entry: PlanEntry) -> pa.Table | None:
    """Returns the rows in a plan file, None if it cannot be read or they are others than planned."""
    try:
        rows = read_table(path)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException):
        return None
    return rows if rows_digest(rows) == entry.plan else None


def normalized(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `document` as JSON gives it back, so that a tuple in code equals a list on disk."""
    return dict(json.loads(canonical_json(dict(document))))


def _write_entry(root: Path, stage: str, partition: PlannedPartition) -> PlanEntry:
    path = paths.plan_file(root, stage, partition.id)
    write_table(path, partition.rows, durable=False)
    return replace(_entry(partition), size=path.stat().st_size)


def _entry(partition: PlannedPartition) -> PlanEntry:
    return PlanEntry(
        partition.id,
        partition.rows.num_rows,
        rows_digest(partition.rows),
        normalized(partition.config),
        dict(partition.inputs),
    )


def _sharing(entry: PlanEntry, entries: Sequence[PlanEntry]) -> PlanEntry:
    """Returns `entry` with the config of the first one if they are equal: a plan may have 100,000 partitions."""
    return replace(entry, config=entries[0].config) if entries and entries[0].config == entry.config else entry


def _plan(dataset: Dataset, stage: Stage, entries: Sequence[PlanEntry], counts: Mapping[str, int]) -> Plan:
    config, inputs = normalized(stage.config()), dict(stage.inputs(dataset))
    return Plan(stage.name, stage.format_version, config, inputs, tuple(entries), counts)


def _record_text(plan: Plan) -> str:
    """Returns the record as JSON: a config that all partitions share stands once, and each partition takes one line."""
    shared = plan.entries[0].config if plan.entries else {}
    document = {name: getattr(plan, name) for name in ("stage", "format_version", "config", "inputs", "counts")}
    head = json.dumps({**document, "partition_config": shared, "entries": []}, indent=2, sort_keys=True)
    lines = ",\n".join(f"    {line}" for line in _entry_lines(plan, shared))
    return head.replace('"entries": []', f'"entries": [\n{lines}\n  ]' if lines else '"entries": []', 1) + "\n"


def _entry_lines(plan: Plan, shared: Mapping[str, Any]) -> Iterator[str]:
    for entry in plan.entries:
        document = {"id": entry.id, "rows": entry.rows, "plan": entry.plan, "inputs": dict(entry.inputs)}
        if entry.size is not None:
            document["size"] = entry.size
        if entry.config != shared:
            document["config"] = dict(entry.config)
        yield canonical_json(document)


def _remove_strays(root: Path, plan: Plan) -> None:
    """Deletes what an earlier plan of this stage, or one that was killed, left beside the files of this one."""
    planned = {entry.id for entry in plan.entries}
    for path in list_files(root / "plans" / plan.stage, paths.INDEX_SUFFIX):
        if path.name.removesuffix(paths.INDEX_SUFFIX) not in planned:
            path.unlink(missing_ok=True)
