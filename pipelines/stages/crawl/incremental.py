"""Repeated crawls into one dataset: which of them a command continues, and when it begins the next.

The first is the stage `crawl`, the next `crawl-2`, `crawl-3`, each with a plan and commits of its own. Partitions are
numbered on, and what an earlier crawl has is not planned again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.engine.stage import PlanItem
from pipelines.stages.crawl.stage import CrawlStage
from x2i.errors import UserError
from x2i.store import Dataset
from x2i.store.files.remote import list_files
from x2i.store.plans import Plan, normalized, planned_stages, read_plan

FIRST = "crawl"
_CRAWL = re.compile(rf"{FIRST}(?:-([1-9][0-9]*))?")


@dataclass(frozen=True)
class CrawlRun(CrawlStage):
    """One crawl into a dataset. planned_from: the config of its plan. digests: those of its sources.

    recorded: whether its plan is only continued, since the sources are no longer what they were when it was made.
    """

    name: str = FIRST
    planned_from: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    recorded: bool = False

    def config(self) -> dict[str, Any]:
        return dict(self.planned_from)

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return dict(self.digests)

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        if self.recorded:
            raise UserError(
                f"{dataset.root}: {self.name} is not finished, the rows planned for it are damaged or lost, and its "
                "sources have changed since: add --overwrite to make it anew from its sources as they are"
            )
        return super().plan(dataset)


def crawl_stages(root: Path) -> list[str]:
    """Returns the names of the crawls into a dataset that were begun, in order: "crawl", "crawl-2", "crawl-3", ..."""
    names = {path.name for folder in ("plans", "commits") for path in (root / folder).glob("*") if path.is_dir()}
    names |= set(planned_stages(root))  # one that only met what is known has a record and no partitions
    found = [(int(match[1] or 1), name) for name in names if (match := _CRAWL.fullmatch(name))]
    return [name for _, name in sorted(found)]


def crawl_runs(dataset: Dataset, crawl: CrawlStage, *, overwrite: bool = False, reread: bool = False) -> list[CrawlRun]:
    """Returns the stages that a crawl command runs, the one that its sources belong to last.

    The same sources with the same contents and options continue the crawl that they began. Other sources, or the same
    with other contents, begin the next; an unfinished crawl of the same sources and options is then continued as it was
    planned. overwrite: the last crawl of these sources is made anew. reread: web pages are read again, as a next crawl.
    """
    sources = crawl.inputs(dataset)
    plans = {name: read_plan(dataset.root, name) for name in crawl_stages(dataset.root)}
    target = _target(crawl, sources, plans, dataset, overwrite, reread)
    config = crawl.config()
    found = [CrawlRun(**vars(crawl), name=target, planned_from=config, digests=sources)]
    for name, plan in plans.items():
        if name == target or plan is None or not plan.entries:
            continue
        continues = plan.config["sources"] == normalized(config)["sources"] and not _is_finished(dataset, plan)
        if not (continues or crawl.fetch.retry_failed):
            continue
        if dict(plan.entries[0].config) == normalized(crawl.partition_config()):
            run = CrawlRun(**vars(crawl), name=name, planned_from=plan.config, digests=plan.inputs, recorded=True)
            found.insert(-1, run)
        elif continues:
            _warn(f"{name} was made with other options and is not finished: with those options, it would be continued")
    return found


def _target(
    crawl: CrawlStage,
    sources: Mapping[str, str],
    plans: Mapping[str, Plan | None],
    dataset: Dataset,
    overwrite: bool,
    reread: bool,
) -> str:
    """Returns the name of the crawl that this command is about."""
    config = normalized(crawl.config())
    if reread and not any(source.rereadable for source in crawl.open_sources()):
        raise UserError("crawl: --reread reads web pages again, and none of the sources is one")
    if not plans:
        return FIRST
    same = [name for name, plan in plans.items() if plan is not None and plan.config["sources"] == config["sources"]]
    if overwrite and same:
        return same[-1]
    matching = [name for name in same if (plan := plans[name]) is not None and dict(plan.inputs) == dict(sources)]
    if matching:
        plan = plans[matching[-1]]
        assert plan is not None
        if not reread or not _is_finished(dataset, plan):
            return matching[-1]
    open_ones = [name for name, plan in plans.items() if plan is None]  # their planning failed or was killed
    if open_ones:
        return open_ones[0]
    last = [*plans][-1]
    plan = plans[last]
    if plan is not None and not _holds_anything(dataset, plan):
        return last
    following = f"{FIRST}-{int(last.partition('-')[2] or 1) + 1}"
    _warn_of_other_options(crawl, following, plans)
    return following


def _is_finished(dataset: Dataset, plan: Plan) -> bool:
    committed = {path.stem for path in list_files(dataset.root / "commits" / plan.stage, ".json")}
    return all(entry.id in committed for entry in plan.entries)


def _holds_anything(dataset: Dataset, plan: Plan) -> bool:
    """Whether a crawl stored something or kept a sighting: if not, the next crawl may replace it."""
    committed = list_files(dataset.root / "commits" / plan.stage, ".json")
    return bool(committed) or (not plan.entries and bool(plan.counts.get("sightings")))


def _warn_of_other_options(crawl: CrawlStage, name: str, plans: Mapping[str, Plan | None]) -> None:
    """Warns if the next crawl stores its images with other options than the one before."""
    for earlier, plan in reversed(list(plans.items())):
        if plan is not None and plan.entries:
            before, now = plan.entries[0].config, normalized(crawl.partition_config())
            differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
            changes = [f"{key} {before.get(key)} -> {now.get(key)}" for key in differing]
            if changes:
                _warn(f"{name} stores its images with other options than {earlier}: {', '.join(changes)}")
            return


def _warn(text: str) -> None:
    import typer

    typer.secho(f"crawl: {text}", err=True, fg="yellow")
