"""What of a plan is already done, and whether the two still belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.engine.locks import exclusive_lock, shared_lock
from pipelines.engine.plans import Plan, PlanEntry, normalized, read_plan
from pipelines.engine.stage import Stage
from x2i.errors import UserError
from x2i.sample import canonical_json
from x2i.store import Dataset, paths
from x2i.store.commits import Commit, list_commits
from x2i.store.files.atomic import remove_temporaries


@dataclass(frozen=True)
class Standing:
    """A plan compared with the ledger: what is done, what is to do, and what was made from something else."""

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
        remove_temporaries(dataset.root)
        for folder in ("plans", "commits", "failures"):
            remove_temporaries(dataset.root / folder / stage)
        remove_temporaries(dataset.root / "sightings", f"{stage}.parquet")
        yield


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
    changes = _differences("option", plan.config, normalized(stage.config()))
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
