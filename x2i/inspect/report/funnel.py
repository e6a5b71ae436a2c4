"""The funnel: how many addresses became images, how many images went on, how many samples they gave, and why not more.

Every number comes from commit records, from the columns, or from what planning counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from x2i.errors import RunError, UserError
from x2i.reasons import Status
from x2i.store import Dataset, paths
from x2i.store.commits import Counts, list_commits, list_stages
from x2i.store.files.cache import local_copy
from x2i.store.plans import planned_stages, read_plan

MOST_NAMES = 12
NOT_SELECTED = "not selected: "
"""How a plan's counts name the predicate that candidates failed (pipelines/stages/materialize.py writes them)."""


@dataclass(frozen=True)
class Step:
    """One stage of the images' way: how many it kept of those it saw, and what it lost by reason."""

    stage: str
    title: str
    counts: Counts

    @property
    def lost(self) -> int:
        return self.counts.total - self.counts.ok


@dataclass(frozen=True)
class RecipeSteps:
    """One recipe's way from candidates to samples. candidates: None if the plan's counts do not fit the commits."""

    recipe: str
    candidates: int | None
    not_selected: Mapping[str, int]
    selected: int
    counts: Counts


@dataclass(frozen=True)
class TaskSize:
    task: str
    samples: int
    shards: int
    bytes: int


@dataclass(frozen=True)
class Funnel:
    """Everything the report says of a dataset. steps[0] is the ingest; the later ones each see every stored image."""

    name: str
    path: str
    steps: tuple[Step, ...]
    pairs: int | None
    recipes: tuple[RecipeSteps, ...]
    tasks: tuple[TaskSize, ...]
    hosts: Mapping[str, int]
    licenses: Mapping[str, int]
    holes: tuple[str, ...]
    other_hosts: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def attempted(self) -> int:
        return self.steps[0].counts.total if self.steps else 0

    @property
    def stored(self) -> int:
        return self.steps[0].counts.ok if self.steps else 0

    @property
    def samples(self) -> int:
        return sum(task.samples for task in self.tasks)


STAGES = {
    "dedup": "no duplicate",
    "filter": "scored",
    "caption": "with a caption",
    "detect": "with an entity",
    "embed": "embedded",
    "subjects": "in a pair of one subject",
}


def read_funnel(dataset: Dataset) -> Funnel:
    """Reads the counts of every stage of `dataset`."""
    ingest = sum((commit.counts for commit in dataset.image_commits()), Counts())
    stages = list_stages(dataset.root)
    steps = [Step("crawl", "fetched and stored", ingest)]
    steps += [Step(stage, title, _counts(dataset, stage)) for stage, title in STAGES.items() if stage in stages]
    hosts, licenses, other = _origins(dataset)
    return Funnel(
        name=dataset.name,
        path=str(dataset.root),
        steps=tuple(steps),
        pairs=_pairs(dataset),
        recipes=tuple(_recipe(dataset, stage) for stage in _materialized(dataset, stages)),
        tasks=tuple(_tasks(dataset)),
        hosts=hosts,
        licenses=licenses,
        holes=tuple(_holes(dataset, stages)),
        other_hosts=other,
        failures={folder.name: n for folder in _failed(dataset) if (n := len(list(folder.glob("*.json"))))},
    )


def _counts(dataset: Dataset, stage: str) -> Counts:
    return sum((commit.counts for commit in list_commits(dataset.root, stage)), Counts())


def _pairs(dataset: Dataset) -> int | None:
    path = paths.relation_file(dataset.root, "subject_pairs")
    return pq.read_metadata(local_copy(path)).num_rows if path.exists() else None


def _materialized(dataset: Dataset, stages: list[str]) -> list[str]:
    """Returns the recipes' stages: with commits, or planned without anything to make, which is worth telling too."""
    return sorted(stage for stage in {*planned_stages(dataset.root), *stages} if stage.startswith("materialize-"))


def _recipe(dataset: Dataset, stage: str) -> RecipeSteps:
    counts = _counts(dataset, stage)
    name = stage.removeprefix("materialize-")
    planned = _planned_counts(dataset, stage)
    candidates = planned.get("candidates")
    lost = {name.removeprefix(NOT_SELECTED): n for name, n in planned.items() if name.startswith(NOT_SELECTED)}
    if candidates is not None and candidates - sum(lost.values()) == counts.total:
        return RecipeSteps(name, candidates, lost, counts.total, counts)
    return RecipeSteps(name, None, {}, counts.total, counts)


def _planned_counts(dataset: Dataset, stage: str) -> dict[str, int]:
    """Returns what planning counted beside the rows; nothing if the plan's record is not there or damaged."""
    try:
        plan = read_plan(dataset.root, stage)
    except (RunError, UserError):
        return {}
    return dict(plan.counts) if plan else {}


def _tasks(dataset: Dataset) -> Iterator[TaskSize]:
    samples: Counter[str] = Counter()
    shards: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for shard in dataset.shards():
        tasks = Counter(shard.index(["task"])["task"].to_pylist())
        samples.update(tasks)
        shards.update(tasks.keys())
        sizes.update({task: shard.tar.stat().st_size for task in tasks})
    for task in sorted(samples):
        yield TaskSize(task, samples[task], shards[task], sizes[task])


def _origins(dataset: Dataset) -> tuple[dict[str, int], dict[str, int], int]:
    """Returns stored images by host (the largest first) and by license, and how many hosts are not named."""
    table = dataset.images(["status", "host", "license"])
    kept = table.filter(pc.equal(table["status"], str(Status.OK)))
    hosts = Counter(host or "(no host: local files)" for host in kept["host"].to_pylist())
    licenses = Counter(license or "(not stated)" for license in kept["license"].to_pylist())
    named = dict(hosts.most_common(MOST_NAMES))
    return named, dict(licenses.most_common(MOST_NAMES)), len(hosts) - len(named)


def _holes(dataset: Dataset, stages: list[str]) -> Iterator[str]:
    """Names what this dataset does not have: stages that were not run, abilities that no backend serves."""
    from x2i.models.registry import Ability, available

    if not dataset.image_commits():
        yield "no images: run `x2i crawl`"
    for stage, title in STAGES.items():
        if stage not in stages and dataset.image_commits():
            yield f"{title}: not known, run `x2i {stage}`"
    if not dataset.shards():
        yield "no samples: run `x2i materialize`"
    for ability in Ability:
        if not available(ability):
            yield f"no backend: {ability}"


def _failed(dataset: Dataset) -> list[Any]:
    return sorted((dataset.root / "failures").glob("*"))
