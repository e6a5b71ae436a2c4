"""A random hundred of a dataset's instructions, to be read: each task has its share, and the choice is by hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from x2i.sample import PLACEHOLDER_PATTERN
from x2i.seeding import stable_hash


def some_instructions(rows: Sequence[dict[str, Any]], most: int) -> list[tuple[str, str]]:
    """Returns (task, instruction) of at most `most` samples, by task; images are written as [1], [2].

    rows: of a shard's index, with key, task and instruction. Tasks take turns, so that a large one does not crowd out
    the others.
    """
    by_task: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: stable_hash("read", row["key"])):
        by_task.setdefault(row["task"], []).append(row)
    chosen: list[dict[str, Any]] = []
    for turn in range(max(map(len, by_task.values()), default=0)):
        for task in sorted(by_task, key=lambda task: stable_hash("read", task)):
            if turn < len(by_task[task]) and len(chosen) < most:
                chosen.append(by_task[task][turn])
    chosen.sort(key=lambda row: (row["task"], row["key"]))
    return [(row["task"], PLACEHOLDER_PATTERN.sub(r"[\1]", row["instruction"])) for row in chosen]
