"""What is planned, what is already done, and whether the two still belong together."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.stage import PlannedPartition, Stage
from x2i.errors import UserError
from x2i.sample import canonical_json
from x2i.store import Dataset, paths
from x2i.store.atomic import remove_temporaries, write_json, write_table
from x2i.store.commits import Commit, fingerprint, list_commits


@dataclass(frozen=True)
class PlanEntry:
    """One planned partition as the plan record keeps it: `plan` is the digest of its rows, `rows` their number."""

    id: str
    rows: int
    plan: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """A stage's plan: what it was made from, and its partitions in order."""

    stage: str
    format_version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    entries: tuple[PlanEntry, ...]

    def fingerprint(self, entry: PlanEntry) -> str:
        return fingerprint(self.stage, self.format_version, entry.config, entry.inputs, entry.plan)


@dataclass(frozen=True)
class Standing:
    """A plan compared with the ledger: what is done, what is to do, and what was made from something else."""

    done: tuple[Commit, ...]
    todo: tuple[PlanEntry, ...]
    stale: tuple[Commit, ...]


@contextmanager
def stage_lock(dataset: Dataset, stage: str) -> Iterator[None]:
    """Holds the right to run `stage` on this dataset; the kernel takes it back when the process dies."""
    path = dataset.root / "locks" / f"{stage}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{dataset.root}: another process is running {stage}: wait for it or stop it") from error
        remove_temporaries(dataset.root)
        for folder in ("plans", "commits", "failures"):
            remove_temporaries(dataset.root / folder / stage)
        yield
    finally:
        os.close(descriptor)


def recorded_plan(dataset: Dataset, stage: Stage) -> Plan | None:
    """Returns the plan on disk if it was made from the same config and inputs: planning is not repeated."""
    plan = read_plan(dataset.root, stage.name)
    if plan is None or plan.format_version != stage.format_version:
        return None
    same = normalised(plan.config) == normalised(stage.config()) and dict(plan.inputs) == dict(stage.inputs(dataset))
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
        return Plan(**{**document, "entries": tuple(PlanEntry(**entry) for entry in document["entries"])})
    except (ValueError, KeyError, TypeError) as error:
        remedy = "delete it and run the stage again; what is done stays done"
        raise UserError(f"{path}: damaged plan record ({error!r}): {remedy}") from error


def write_plan(dataset: Dataset, stage: Stage) -> Plan:
    """Plans `stage` afresh: every partition's rows as Parquet, then, last, the record that makes the plan valid."""
    root = dataset.root
    paths.plan_record(root, stage.name).unlink(missing_ok=True)
    entries = []
    for partition in stage.plan(dataset):
        write_table(paths.plan_file(root, stage.name, partition.id), partition.rows)
        entries.append(_entry(partition))
    plan = Plan(
        stage.name, stage.format_version, normalised(stage.config()), dict(stage.inputs(dataset)), tuple(entries)
    )
    write_json(paths.plan_record(root, stage.name), asdict(plan))
    return plan


def is_plan_whole(dataset: Dataset, plan: Plan, entries: Sequence[PlanEntry]) -> bool:
    """Whether the planned rows of `entries` are on disk as they were planned."""
    for entry in entries:
        try:
            if rows_digest(pq.read_table(paths.plan_file(dataset.root, plan.stage, entry.id))) != entry.plan:
                return False
        except (OSError, pa.ArrowException):
            return False
    return True


def preview_plan(dataset: Dataset, stage: Stage) -> Plan:
    """Plans `stage` without writing anything: what `--dry-run` shows."""
    entries = tuple(_entry(partition) for partition in stage.plan(dataset))
    return Plan(stage.name, stage.format_version, normalised(stage.config()), dict(stage.inputs(dataset)), entries)


def compare(dataset: Dataset, plan: Plan) -> Standing:
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
    return Standing(tuple(done), tuple(todo), (*stale, *commits.values()))


def refuse_changes(dataset: Dataset, stage: Stage) -> None:
    """Raises UserError if earlier results were made with other options: they would be mixed with new ones.

    Looks at options alone, so that it can speak before planning, which may be long.
    """
    plan = read_plan(dataset.root, stage.name)
    if plan is None or not any(True for _ in list_commits(dataset.root, stage.name)):
        return
    changes = _differences("option", plan.config, normalised(stage.config()))
    if plan.format_version != stage.format_version:
        changes.append(f"format version of the code: {plan.format_version} -> {stage.format_version}")
    if changes:
        raise UserError(_refusal(dataset, stage.name, changes))


def refuse_stale(dataset: Dataset, plan: Plan, standing: Standing) -> None:
    """Raises UserError if a committed partition was made from something that has changed since; names what."""
    changes: list[str] = []
    entries = {entry.id: entry for entry in plan.entries}
    for commit in standing.stale:
        entry = entries.get(commit.partition)
        if entry is None:
            changes.append(f"partition {commit.partition}: no longer planned")
            continue
        before = len(changes)
        changes += _differences(f"partition {entry.id}: option", commit.config, entry.config)
        changes += _differences(f"partition {entry.id}: input", commit.inputs, entry.inputs)
        if commit.format_version != plan.format_version:
            changes.append(f"format version of the code: {commit.format_version} -> {plan.format_version}")
        if len(changes) == before:
            changes.append(f"partition {entry.id}: the rows planned for it")
    if changes:
        raise UserError(_refusal(dataset, plan.stage, changes))


def discard(dataset: Dataset, commits: tuple[Commit, ...]) -> None:
    """Deletes committed partitions, the record first: a kill in between leaves nothing that claims to be done."""
    for commit in commits:
        paths.commit_file(dataset.root, commit.stage, commit.partition).unlink(missing_ok=True)
        for output in commit.outputs:
            (dataset.root / output).unlink(missing_ok=True)


def rows_digest(rows: pa.Table) -> str:
    """Returns a digest of a table's values that does not depend on chunking, file format or library version."""
    digest = hashlib.sha256()
    for name in rows.column_names:
        column = rows[name]
        kind = re.sub(r"<\w+: ", "<item: ", str(column.type))  # Parquet gives the items of lists another name
        digest.update(f"{name}:{kind}:{len(column)}:".encode())
        if pa.types.is_string(column.type):
            digest.update(pc.is_null(column).to_numpy().tobytes())
            filled = pc.fill_null(column, "")
            digest.update(pc.binary_length(filled).to_numpy().astype("<i8").tobytes())
            digest.update("".join(filled.to_pylist()).encode())
        else:
            digest.update(canonical_json(column.to_pylist()).encode())
    return digest.hexdigest()


def normalised(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `document` as JSON gives it back, so that a tuple in code equals a list on disk."""
    return json.loads(canonical_json(dict(document)))


def _entry(partition: PlannedPartition) -> PlanEntry:
    return PlanEntry(
        partition.id,
        partition.rows.num_rows,
        rows_digest(partition.rows),
        normalised(partition.config),
        dict(partition.inputs),
    )


def _differences(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted({*old, *new}):
        if name not in old:
            lines.append(f"{kind} {name}: added ({_short(new[name])})")
        elif name not in new:
            lines.append(f"{kind} {name}: gone (was {_short(old[name])})")
        elif old[name] != new[name]:
            lines.append(f"{kind} {name}: {_short(old[name])} -> {_short(new[name])}")
    return lines


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refusal(dataset: Dataset, stage: str, changes: list[str]) -> str:
    shown = "\n".join(f"  {line}" for line in changes[:10])
    more = f"\n  ... and {len(changes) - 10} more" if len(changes) > 10 else ""
    return (
        f"{dataset.root}: {stage} was already run from something else. What changed:\n{shown}{more}\n"
        f"Run it as before, choose another dataset folder, or add --overwrite to delete those results and redo them."
    )
