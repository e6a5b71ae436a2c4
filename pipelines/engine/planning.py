"""Planning a stage: its partitions are written as Parquet, last the plan record, and compared with the commits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.engine.stage import PlanCounts, PlannedPartition, PlannedSightings, Stage
from x2i.store import Dataset, paths
from x2i.store.commits import Commit, list_commits
from x2i.store.files.atomic import TableFile, remove_temporaries, write_table
from x2i.store.files.locks import exclusive_lock, shared_lock
from x2i.store.files.remote import list_files
from x2i.store.plans import Plan, PlanEntry, normalized, read_plan, table_digest, write_plan_record
from x2i.store.tombstones import refuse_pending

WRITERS = 2
MAX_PENDING = 16
"""Partitions that are planned and not yet written, at most."""


@dataclass(frozen=True)
class PlanStatus:
    """A plan compared with the commits: what is done, what is to do, and what was made from something else."""

    done: tuple[Commit, ...]
    todo: tuple[PlanEntry, ...]
    stale: tuple[Commit, ...]


@contextmanager
def stage_lock(dataset: Dataset, stage: str) -> Iterator[None]:
    """Holds the right to run `stage` on this dataset; the kernel takes it back when the process dies.

    An object store has no locks: there, the lock holds among the processes of one user on this machine only.
    """
    running = f"another process is running {stage}: wait for it or stop it"
    with shared_lock(dataset.root), exclusive_lock(dataset.root, stage, running):
        refuse_pending(dataset.root)
        remove_temporaries(dataset.root)
        for folder in ("plans", "commits", "failures"):
            remove_temporaries(dataset.root / folder / stage)
        for folder in ("plans", "sightings"):
            remove_temporaries(dataset.root / folder, f"{stage}{paths.INDEX_SUFFIX}")
        yield


def has_options(plan: Plan, stage: Stage) -> bool:
    """Whether `plan` was made with the options that `stage` has, by the same version of its code."""
    return plan.format_version == stage.format_version and normalized(plan.config) == normalized(stage.config())


def recorded_plan(dataset: Dataset, stage: Stage) -> Plan | None:
    """Returns the plan on disk if it was made from the same config and inputs: planning is not repeated."""
    plan = read_plan(dataset.root, stage.name)
    same = plan is not None and has_options(plan, stage) and dict(plan.inputs) == dict(stage.inputs(dataset))
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


def plan_status(dataset: Dataset, plan: Plan) -> PlanStatus:
    """Compares `plan` with the commits of its stage."""
    commits = {commit.partition: commit for commit in list_commits(dataset.root, plan.stage)}
    done, todo, stale = [], [], []
    for entry in plan.entries:
        commit = commits.pop(entry.id, None)
        if commit is None:
            todo.append(entry)
        elif commit.fingerprint == plan.fingerprint(entry):
            done.append(commit)
        else:
            stale.append(commit)
            todo.append(entry)
    return PlanStatus(tuple(done), tuple(todo), (*stale, *commits.values()))


def delete_outputs(dataset: Dataset, commits: Sequence[Commit]) -> None:
    """Deletes committed partitions, the record first: a kill in between leaves no commit without its outputs."""
    for commit in commits:
        paths.commit_file(dataset.root, commit.stage, commit.partition).unlink(missing_ok=True)
        for output in commit.outputs:
            (dataset.root / output).unlink(missing_ok=True)


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
