"""Crawls into one dataset, one after another: which of them a command continues, and when it begins the next.

The first is the stage `crawl`, the next `crawl-2`, `crawl-3`, each with a plan and commits of its own. Partitions are
numbered on, and what an earlier crawl has is not planned again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.engine.stage import PlanItem, Worker
from pipelines.stages.crawl.plan import plan_crawl
from x2i.errors import UserError
from x2i.store.dataset import ingest_stages
from x2i.store.files.remote import list_files
from x2i.store.plans import Plan, normalized, read_plan

if TYPE_CHECKING:
    from pipelines.stages.crawl.stage import CrawlStage
    from x2i.store import Dataset

FIRST = "crawl"


@dataclass(frozen=True)
class CrawlGeneration:
    """One crawl into a dataset, as a stage. sources: their digests.

    recorded: whether its plan is only continued, since the sources are no longer what they were when it was made.
    """

    crawl: CrawlStage
    name: str
    planned_from: Mapping[str, Any]
    sources: Mapping[str, str]
    recorded: bool = False

    @property
    def format_version(self) -> int:
        return self.crawl.format_version

    @property
    def preload(self) -> tuple[str, ...]:
        return self.crawl.preload

    def config(self) -> Mapping[str, Any]:
        return self.planned_from

    def inputs(self, dataset: Dataset) -> Mapping[str, str]:
        return self.sources

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        if self.recorded:
            raise UserError(
                f"{dataset.root}: {self.name} is not finished, the rows planned for it are damaged or lost, and its "
                "sources have changed since: add --overwrite to make it anew from its sources as they are"
            )
        stages = ingest_stages(dataset.root)
        place = stages.index(self.name) if self.name in stages else len(stages)
        return plan_crawl(self.crawl, dataset, stages[:place], stages[place + 1 :])

    def worker(self, root: Path) -> Worker:
        return self.crawl.worker(root)


def crawl_generations(
    dataset: Dataset, crawl: CrawlStage, *, overwrite: bool = False, reread: bool = False
) -> list[CrawlGeneration]:
    """Returns the stages that a crawl command runs, the one that its sources belong to last.

    The same sources with the same contents and options continue the crawl that they began. Other sources, or the same
    with other contents, begin the next; an unfinished crawl of the same sources and options is then continued as it was
    planned. overwrite: the last crawl of these sources is made anew. reread: web pages are read again, as a next crawl.
    """
    sources = crawl.inputs(dataset)
    crawls = [name for name in ingest_stages(dataset.root) if name.split("-")[0] == FIRST]
    plans = {name: read_plan(dataset.root, name) for name in crawls}
    target = _target(crawl, sources, plans, dataset, overwrite, reread)
    config = crawl.config()
    found = [CrawlGeneration(crawl, target, config, sources)]
    for name, plan in plans.items():
        if name == target or plan is None or not plan.entries:
            continue
        continues = plan.config["sources"] == normalized(config)["sources"] and not _is_finished(dataset, plan)
        if not (continues or crawl.retry_failed):
            continue
        if dict(plan.entries[0].config) == normalized(crawl.partition_config()):
            found.insert(-1, CrawlGeneration(crawl, name, plan.config, plan.inputs, recorded=True))
        elif continues:
            _tell(f"{name} was made with other options and is not finished: with those options, it would be continued")
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
    if reread and not crawl.reads_pages():
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
    _tell_difference(crawl, following, plans)
    return following


def _is_finished(dataset: Dataset, plan: Plan) -> bool:
    committed = {path.stem for path in list_files(dataset.root / "commits" / plan.stage, ".json")}
    return all(entry.id in committed for entry in plan.entries)


def _holds_anything(dataset: Dataset, plan: Plan) -> bool:
    """Whether a crawl stored something or kept a mention: if not, the next may take its place."""
    committed = list_files(dataset.root / "commits" / plan.stage, ".json")
    return bool(committed) or (not plan.entries and bool(plan.counts.get("mentions")))


def _tell_difference(crawl: CrawlStage, name: str, plans: Mapping[str, Plan | None]) -> None:
    """Says with which other options than before the next crawl stores its images: lawful, and easily forgotten."""
    for earlier, plan in reversed(list(plans.items())):
        if plan is not None and plan.entries:
            before, now = plan.entries[0].config, normalized(crawl.partition_config())
            differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
            changes = [f"{key} {before.get(key)} -> {now.get(key)}" for key in differing]
            if changes:
                _tell(f"{name} stores its images with other options than {earlier}: {', '.join(changes)}")
            return


def _tell(text: str) -> None:
    import typer

    typer.secho(f"crawl: {text}", err=True, fg="yellow")
