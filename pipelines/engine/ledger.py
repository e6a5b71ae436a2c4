"""What of a plan is already done, and whether earlier results belong to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.engine.locks import exclusive_lock, shared_lock
from pipelines.engine.stage import Stage
from x2i.errors import UserError
from x2i.sample import canonical_json
from x2i.store import Dataset, paths
from x2i.store.commits import Commit, list_commits
from x2i.store.files.atomic import remove_temporaries
from x2i.store.plans import Plan, PlanEntry, normalized, read_plan

_SHOWN = 60
"""Characters of a value in a message, at most."""


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
        remove_temporaries(dataset.root)
        for folder in ("plans", "commits", "failures"):
            remove_temporaries(dataset.root / folder / stage)
        for folder in ("plans", "sightings"):
            remove_temporaries(dataset.root / folder, f"{stage}{paths.INDEX_SUFFIX}")
        yield


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


def check_options_unchanged(dataset: Dataset, stage: Stage) -> None:
    """Raises UserError if earlier results were made with other options: they would be mixed with new ones.

    Looks at options alone, and so before planning, which may be long.
    """
    plan = read_plan(dataset.root, stage.name)
    if plan is None or not any(True for _ in list_commits(dataset.root, stage.name)):
        return
    changes = _differences("option", plan.config, normalized(stage.config()))
    if plan.format_version != stage.format_version:
        changes.append(f"format version of the code: {plan.format_version} -> {stage.format_version}")
    if changes:
        raise UserError(_refusal(dataset, stage.name, changes))


def check_unchanged(dataset: Dataset, plan: Plan, status: PlanStatus) -> None:
    """Raises UserError if a committed partition was made from something that has changed since; names what."""
    changes: list[str] = []
    entries = {entry.id: entry for entry in plan.entries}
    for commit in status.stale:
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


def delete_outputs(dataset: Dataset, commits: Sequence[Commit]) -> None:
    """Deletes committed partitions, the record first: a kill in between leaves no commit without its outputs."""
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
            lines.append(f"{kind} {name}: removed (was {_short(old[name])})")
        elif isinstance(old[name], dict) and isinstance(new[name], dict):
            lines += _differences(f"{kind} {name}:", old[name], new[name])
        elif old[name] != new[name]:
            lines.append(f"{kind} {name}: {_difference(old[name], new[name])}")
    return lines


def _difference(old: Any, new: Any) -> str:
    """Returns how two values differ: of lists the items added and removed, of long texts the part that differs."""
    if isinstance(old, list) and isinstance(new, list):
        removed, added = [item for item in old if item not in new], [item for item in new if item not in old]
        parts = [f"{word} {_short(items)}" for word, items in (("removed", removed), ("added", added)) if items]
        if parts:
            return ", ".join(parts)
    before, after = canonical_json(old), canonical_json(new)
    is_long = max(len(before), len(after)) > _SHOWN
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after))) if is_long else 0
    return f"{_cut(before, same)} -> {_cut(after, same)}"


def _short(value: Any) -> str:
    return _cut(canonical_json(value), 0)


def _cut(text: str, same: int) -> str:
    """Returns `text` without all but the last of its first `same` characters, and no longer than shown."""
    start = max(0, same - 10)
    text = f"{'...' if start else ''}{text[start:]}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _refusal(dataset: Dataset, stage: str, changes: list[str]) -> str:
    shown = "\n".join(f"  {line}" for line in changes[:10])
    more = f"\n  ... and {len(changes) - 10} more" if len(changes) > 10 else ""
    return (
        f"{dataset.root}: {stage} was already run from something else. What changed:\n{shown}{more}\n"
        f"Run it as before, choose another dataset folder, or add --overwrite to delete those results and redo them."
    )
