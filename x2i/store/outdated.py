"""Stages whose results were made from inputs that have changed since: corrected words, a column that was made anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from x2i.counting import counted
from x2i.errors import RunError
from x2i.store import paths
from x2i.store.commits import Commit, list_commits, list_stages
from x2i.store.plans import Plan, PlanEntry, read_plans
from x2i.store.stages import KINDS, command_of, kind_of, read_spec

_SHOWN = 3


@dataclass(frozen=True)
class Outdated:
    """A stage of which `partitions` of its `committed` partitions were made from older inputs.

    inputs: what has changed, by name, as commits and plans name it. command: the command that makes the stage, without
    `x2i`.
    """

    stage: str
    partitions: int
    committed: int
    inputs: tuple[str, ...]
    command: str

    def __str__(self) -> str:
        names = ", ".join(self.inputs[:_SHOWN]) or "the rows planned for it"
        more = f" and {len(self.inputs) - _SHOWN:,} more" if len(self.inputs) > _SHOWN else ""
        of = f"{self.partitions:,} of {counted(self.committed, 'partitions')}"
        again = f"run `x2i {self.command}` as before, with --overwrite"
        return f"{self.stage}: {of} made before {names}{more} changed: {again}"


def outdated_stages(root: Path, plans: Mapping[str, Plan | RunError] | None = None) -> list[Outdated]:
    """Returns the stages of the dataset at `root` that hold results of older inputs, by name.

    A partition is outdated if an input named by its commit or by its stage's plan has another digest now or is gone, or
    if the stage plans other rows for it now. Inputs from outside the dataset are not looked at.
    plans: of `read_plans`, if they have been read; of a damaged one `x2i verify` speaks.
    Raises RunError if a commit record is damaged.
    """
    stages = {stage: list(list_commits(root, stage)) for stage in list_stages(root)}
    now = {name: digest for commit in chain(*stages.values()) for name, digest in _names(commit)}
    plans = read_plans(root) if plans is None else plans
    found = (_outdated(root, stage, commits, plans.get(stage), now) for stage, commits in sorted(stages.items()))
    return [stage for stage in found if stage is not None]


def _names(commit: Commit) -> Iterator[tuple[str, str]]:
    """Yields the names by which other records refer to a commit and to its outputs, each with its digest now."""
    yield f"{commit.stage}/{commit.partition}", commit.outputs_digest
    if kind_of(commit.outputs) == "images":  # whichever crawl or import made them
        yield f"images/{commit.partition}", commit.outputs_digest
    for path, entry in commit.outputs.items():
        yield path, str(entry["sha256"])
        if path.startswith("columns/"):  # shards name the partition of a column whose images they read
            yield path.removesuffix(paths.INDEX_SUFFIX), str(entry["sha256"])


def _outdated(
    root: Path, stage: str, commits: list[Commit], plan: Plan | RunError | None, now: Mapping[str, str]
) -> Outdated | None:
    if not commits or kind_of(commits[0].outputs) == "images":
        return None
    plan = plan if isinstance(plan, Plan) else None
    planned_from = _changed(plan.inputs, now) if plan is not None else set()
    rows = {entry.id: entry for entry in plan.entries} if plan is not None else {}
    inputs, partitions = set(planned_from), 0
    for commit in commits:
        changed = _changed(commit.inputs, now)
        inputs |= changed
        partitions += bool(changed) or (plan is not None and _is_replanned(plan, rows.get(commit.partition), commit))
    if planned_from and not partitions:
        partitions = len(commits)
    if not partitions:
        return None
    outputs = (output for commit in commits for output in commit.outputs)
    return Outdated(stage, partitions, len(commits), tuple(sorted(inputs)), command_of(stage, read_spec(root, outputs)))


def _changed(inputs: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {name for name, digest in inputs.items() if now.get(name, "" if _is_own(name) else digest) != digest}


def _is_own(name: str) -> bool:
    """Whether an input is a file or an image partition of this dataset."""
    return name.split("/")[0] in KINDS


def _is_replanned(plan: Plan, entry: PlanEntry | None, commit: Commit) -> bool:
    return entry is None or plan.fingerprint(entry) != commit.fingerprint
