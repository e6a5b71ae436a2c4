"""Planning a stage: its partitions are written as Parquet, a bounded number at a time, and last the plan record."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pipelines.engine.stage import PlanCounts, PlannedPartition, PlannedSightings, Stage
from x2i.store import Dataset, paths
from x2i.store.files.atomic import TableFile, write_table
from x2i.store.files.remote import list_files
from x2i.store.plans import Plan, PlanEntry, normalized, read_plan, table_digest, write_plan_record

WRITERS = 2
MAX_PENDING = 16
"""Partitions that are planned and not yet written, at most."""


def recorded_plan(dataset: Dataset, stage: Stage) -> Plan | None:
    """Returns the plan on disk if it was made from the same config and inputs: planning is not repeated."""
    plan = read_plan(dataset.root, stage.name)
    if plan is None or plan.format_version != stage.format_version:
        return None
    same = normalized(plan.config) == normalized(stage.config()) and dict(plan.inputs) == dict(stage.inputs(dataset))
    return plan if same else None


def write_plan(dataset: Dataset, stage: Stage) -> Plan:
    """Plans `stage` anew: writes every partition's rows, then the record that makes the plan valid.

    The files of rows are not fsynced: the record keeps their digests, which are checked before use.
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
            while len(pending) > MAX_PENDING:
                entries.append(_sharing_config(pending.popleft().result(), entries))
        entries += [_sharing_config(future.result(), entries) for future in pending]
    if not sightings.rows:
        paths.sightings_file(root, stage.name).unlink(missing_ok=True)
    plan = _plan(dataset, stage, entries, counts)
    _remove_unplanned(root, plan)
    write_plan_record(root, plan)
    return plan


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


def _write_entry(root: Path, stage: str, partition: PlannedPartition) -> PlanEntry:
    path = paths.plan_file(root, stage, partition.id)
    write_table(path, partition.rows, durable=False)
    return replace(_entry(partition), size=path.stat().st_size)


def _entry(partition: PlannedPartition) -> PlanEntry:
    digest = table_digest(partition.rows)
    config, inputs = normalized(partition.config), dict(partition.inputs)
    return PlanEntry(partition.id, partition.rows.num_rows, digest, config, inputs)


def _sharing_config(entry: PlanEntry, entries: Sequence[PlanEntry]) -> PlanEntry:
    """Returns `entry` with the config object of the first entry if they are equal: a plan may have 100,000 entries."""
    return replace(entry, config=entries[0].config) if entries and entries[0].config == entry.config else entry


def _plan(dataset: Dataset, stage: Stage, entries: Sequence[PlanEntry], counts: Mapping[str, int]) -> Plan:
    config, inputs = normalized(stage.config()), dict(stage.inputs(dataset))
    return Plan(stage.name, stage.format_version, config, inputs, tuple(entries), counts)


def _remove_unplanned(root: Path, plan: Plan) -> None:
    """Deletes the files that an earlier or a killed planning of this stage left beside those of this plan."""
    planned = {entry.id for entry in plan.entries}
    for path in list_files(root / "plans" / plan.stage, paths.INDEX_SUFFIX):
        if path.name.removesuffix(paths.INDEX_SUFFIX) not in planned:
            path.unlink(missing_ok=True)
