"""The funnel: how many addresses became images, how many images went on, how many samples they gave, and why not more.

Every number comes from commit records, from the columns, or from asking the recorded selections again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from x2i.errors import RunError
from x2i.reasons import Status
from x2i.store import Dataset
from x2i.store.commits import Counts, list_commits
from x2i.store.files.cache import local_copy
from x2i.store.outdated import Outdated, outdated_stages
from x2i.store.plans import Plan, read_plans
from x2i.store.query.views import IMAGES, View, list_views
from x2i.store.stages import StageInfo, committed_stages

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
    """One recipe's way from candidates to samples. candidates is None where the selection cannot be asked again."""

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
    """Everything the report says of a dataset. steps[0] is the ingest; the later ones each see every stored image.

    relations: rows of each relation that joins several images, by name. outdated: stages with results of older inputs.
    """

    name: str
    path: str
    steps: tuple[Step, ...]
    relations: Mapping[str, int]
    recipes: tuple[RecipeSteps, ...]
    tasks: tuple[TaskSize, ...]
    hosts: Mapping[str, int]
    licenses: Mapping[str, int]
    holes: tuple[str, ...]
    other_hosts: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    outdated: tuple[Outdated, ...] = ()

    @property
    def attempted(self) -> int:
        return self.steps[0].counts.total if self.steps else 0

    @property
    def stored(self) -> int:
        return self.steps[0].counts.ok if self.steps else 0

    @property
    def samples(self) -> int:
        return sum(task.samples for task in self.tasks)


def read_funnel(dataset: Dataset) -> Funnel:
    """Reads the counts of every stage of `dataset`."""
    stages, views, plans = committed_stages(dataset.root), list_views(dataset), read_plans(dataset.root)
    ingest = sum((stage.counts for stage in stages if stage.kind == "images"), Counts())
    tables = [stage for stage in stages if stage.kind in ("column", "relation")]
    steps = [Step("images", "fetched and stored", ingest)]
    steps += [Step(stage.name, stage.spec.title if stage.spec else stage.name, stage.counts) for stage in tables]
    hosts, licenses, other = _origins(dataset)
    return Funnel(
        name=dataset.name,
        path=str(dataset.root),
        steps=tuple(steps),
        relations=_relation_rows(views),
        recipes=tuple(_recipes(dataset, stages, plans)),
        tasks=tuple(_tasks(dataset)),
        hosts=hosts,
        licenses=licenses,
        holes=tuple(_holes(dataset, views)),
        other_hosts=other,
        outdated=tuple(outdated_stages(dataset.root, plans)),
        failures={folder.name: n for folder in _failed(dataset) if (n := len(list(folder.glob("*.json"))))},
    )


def _relation_rows(views: Mapping[str, View]) -> dict[str, int]:
    """Returns the number of rows of each relation that has not one row for each image, by name."""
    found = [view for view in views.values() if view.spec and view.spec.kind == "relation" and view.has_many_rows]
    return {view.name: pq.read_metadata(local_copy(view.files[0])).num_rows for view in found}


def _recipes(
    dataset: Dataset, stages: Sequence[StageInfo], plans: Mapping[str, Plan | RunError]
) -> Iterator[RecipeSteps]:
    """Yields what became of each recipe, also where it was planned without anything to make, which is worth telling."""
    counts = {stage.name: stage.counts for stage in stages}
    for stage in sorted({*counts, *plans}):
        recipe, planned = _recipe_of(dataset, stage, plans.get(stage))
        if recipe is not None:
            yield _recipe(str(recipe), counts.get(stage, Counts()), planned)


def _recipe_of(dataset: Dataset, stage: str, plan: Plan | RunError | None) -> tuple[str | None, Mapping[str, int]]:
    """Returns the recipe of a stage that makes samples, and what its planning counted beside the rows."""
    if isinstance(plan, Plan):
        return plan.config.get("recipe"), plan.counts
    if isinstance(plan, RunError):  # a damaged record: `x2i verify` says so
        return None, {}
    return next(list_commits(dataset.root, stage)).config.get("recipe"), {}


def _recipe(name: str, counts: Counts, planned: Mapping[str, int]) -> RecipeSteps:
    candidates = planned.get("candidates")
    lost = {name.removeprefix(NOT_SELECTED): n for name, n in planned.items() if name.startswith(NOT_SELECTED)}
    if candidates is not None and candidates - sum(lost.values()) == counts.total:
        return RecipeSteps(name, candidates, lost, counts.total, counts)
    return RecipeSteps(name, None, {}, counts.total, counts)


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
    rows = zip(*(table[name].to_pylist() for name in table.column_names))
    kept = [(host, license) for status, host, license in rows if status == str(Status.OK)]
    hosts = Counter(host or "(no host: local files)" for host, _ in kept)
    licenses = Counter(license or "(not stated)" for _, license in kept)
    named = dict(hosts.most_common(MOST_NAMES))
    return named, dict(licenses.most_common(MOST_NAMES)), len(hosts) - len(named)


def _holes(dataset: Dataset, views: Mapping[str, View]) -> Iterator[str]:
    """Names what this dataset does not have: images, samples, tables that recipes are made from."""
    from x2i.recipes import RECIPES
    from x2i.recipes.plan import maker

    if IMAGES in views:
        read = {table.name: name for name in RECIPES for table in RECIPES.get(name)().reads() if not table.optional}
        for name in sorted(set(read) - set(views)):
            command = maker(name)
            remedy = f"run `x2i {command}` first" if command else f"recipe {read[name]} reads it"
            yield f"{name} has not been made: {remedy}"
    else:
        yield "no images: run `x2i crawl`"
    if not dataset.shards():
        yield "no samples: run `x2i materialize`"


def _failed(dataset: Dataset) -> list[Any]:
    return sorted((dataset.root / "failures").glob("*"))
