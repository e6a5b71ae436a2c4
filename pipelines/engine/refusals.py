"""Refusing to mix results of different runs: the errors that name what has changed since the earlier ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.engine.stage import Stage
from x2i.errors import UserError
from x2i.sample import canonical_json
from x2i.store import Dataset
from x2i.store.commits import Commit
from x2i.store.plans import Plan, normalized

_SHOWN = 60
"""Characters of a value in a message, at most."""


def options_changed(dataset: Dataset, stage: Stage, earlier: Plan) -> UserError:
    """Returns the error for results that were made with other options than `stage` has, or by another version of it."""
    changes = _differences("option", earlier.config, normalized(stage.config()))
    if earlier.format_version != stage.format_version:
        changes.append(f"format version of the code: {earlier.format_version} -> {stage.format_version}")
    return _refusal(dataset, stage.name, changes)


def results_stale(dataset: Dataset, plan: Plan, stale: Sequence[Commit]) -> UserError:
    """Returns the error for committed partitions that were made from something that has changed since."""
    changes: list[str] = []
    entries = {entry.id: entry for entry in plan.entries}
    for commit in stale:
        entry = entries.get(commit.partition)
        if entry is None:
            changes.append(f"partition {commit.partition}: no longer planned")
            continue
        before = len(changes)
        changes += _differences(f"partition {entry.id}: option", commit.config, entry.config)
        changes += _changed_inputs(entry.id, commit.inputs, entry.inputs)
        if commit.format_version != plan.format_version:
            changes.append(f"format version of the code: {commit.format_version} -> {plan.format_version}")
        if len(changes) == before:
            changes.append(f"partition {entry.id}: the rows planned for it")
    return _refusal(dataset, plan.stage, changes)


def _changed_inputs(partition: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Returns a line for each input that was made anew, came or went; digests would tell a reader nothing."""
    words = {name: "added" if name not in old else "removed" if name not in new else "made anew since"
             for name in sorted({*old, *new}) if old.get(name) != new.get(name)}  # fmt: skip
    return [f"partition {partition}: input {name}: {word}" for name, word in words.items()]


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


def _refusal(dataset: Dataset, stage: str, changes: list[str]) -> UserError:
    shown = "\n".join(f"  {line}" for line in changes[:10])
    more = f"\n  ... and {len(changes) - 10} more" if len(changes) > 10 else ""
    return UserError(
        f"{dataset.root}: {stage} was already run from something else. What changed:\n{shown}{more}\n"
        f"Run it as before, choose another dataset folder, or add --overwrite to delete those results and redo them."
    )
