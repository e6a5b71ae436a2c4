"""The configs of a Hugging Face folder: which shards belong to which task, number of inputs and image formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Config:
    """One `config_name` of the card: the shards of one task, one number of inputs and one set of image formats.

    image_names: the members of a sample that are images, such as ("input_1.jpg", "output.jpg").
    shards: name, sha256 and bytes of every tar. pattern: the glob that finds them, "" where none finds them alone.
    """

    name: str
    task: str
    num_inputs: int
    image_names: tuple[str, ...]
    samples: int
    shards: tuple[tuple[str, str, int], ...]
    pattern: str


def configs(records: Sequence[tuple[str, dict[str, Any]]]) -> list[Config]:
    """Groups shards (name, what was recorded) into configs, by name."""
    groups: dict[tuple[str, int, tuple[str, ...]], list[tuple[str, dict[str, Any]]]] = {}
    for name, facts in records:
        groups.setdefault((facts["task"], facts["num_inputs"], tuple(facts["image_names"])), []).append((name, facts))
    tasks = Counter(task for task, _, _ in groups)
    inputs = Counter((task, count) for task, count, _ in groups)
    found = []
    for (task, count, names), shards in groups.items():
        alone = inputs[(task, count)] == 1
        several = f"-{count}in" if tasks[task] > 1 else ""
        formats = "" if alone else "-" + "-".join(name.rsplit(".", 1)[-1] for name in names)
        found.append(
            Config(
                name=f"{task}{several}{formats}",
                task=task,
                num_inputs=count,
                image_names=names,
                samples=sum(facts["samples"] for _, facts in shards),
                shards=tuple((name, facts["sha256"], facts["bytes"]) for name, facts in shards),
                pattern=f"shards/{task}-{count}in-*.tar" if alone and _named_alike(shards, task, count) else "",
            )
        )
    return sorted(found, key=lambda config: config.name)


def _named_alike(shards: Sequence[tuple[str, dict[str, Any]]], task: str, count: int) -> bool:
    return all(name.startswith(f"{task}-{count}in-") for name, _ in shards)
