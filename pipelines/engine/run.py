"""Runs stages: plan, compare with the ledger, execute what is missing, show what happens, say what came of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pipelines.engine.executors.select import (
    AutoExecutor,
    InlineExecutor,
    PartitionExecutor,
    ProcessExecutor,
    RayExecutor,
)
from pipelines.engine.ledger import Standing, compare, discard, refuse_changes, refuse_stale, stage_lock
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.partition import Result, WorkItem
from pipelines.engine.plans import Plan, is_plan_whole, preview_plan, recorded_plan, write_plan
from pipelines.engine.progress import StageProgress, describe_counts
from pipelines.engine.stage import Stage
from x2i.store import Dataset
from x2i.store.commits import Counts
from x2i.store.files.logs import append_log

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class StageSummary:
    """What a run of one stage came to. `counts` covers every committed partition of the plan, old and new.

    planned_beside: what planning counted beside the rows: of a crawl, repeated, known, changed, sightings, bad_lines.
    """

    stage: str
    planned_partitions: int
    planned_rows: int
    done_before: int
    ran: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    planned_beside: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def run_stages(stages: Sequence[Stage], dataset: Dataset, options: RunOptions) -> None:
    """The end of every stage command: runs `stages` and exits with 0 (done) or 1 (failed partitions remain)."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    summaries = execute(stages, dataset, options, console)
    if options.json:
        typer.echo(json.dumps({"dataset": str(dataset.root), "stages": [s.as_json() for s in summaries]}, indent=2))
    if any(summary.failed for summary in summaries):
        raise typer.Exit(1)


def execute(
    stages: Sequence[Stage], dataset: Dataset, options: RunOptions, console: Console | None = None
) -> list[StageSummary]:
    """Runs independent `stages` side by side on one dataset and returns a summary of each.

    Raises UserError before any work if earlier results were made from other options or inputs, unless
    `options.overwrite` is set.
    """
    if options.dry_run:
        return [_preview(dataset, stage, console) for stage in stages]
    started = time.monotonic()
    with ExitStack() as locks:
        for stage in stages:
            locks.enter_context(stage_lock(dataset, stage.name))
        prepared = [_prepare(dataset, stage, options) for stage in stages]
        summaries = {plan.stage: _summary(plan, standing) for plan, standing in prepared}
        items = [
            WorkItem(plan.stage, entry) for plan, standing in prepared for entry in _limited(plan, standing, options)
        ]
        title = stages[0].name if len(stages) == 1 else f"{len(stages)} stages"
        with StageProgress(console, title, sum(item.entry.rows for item in items)) as progress:
            rows = {(item.stage, item.entry.id): item.entry.rows for item in items}

            def on_result(result: Result) -> None:
                summary = summaries[result.stage]
                if result.error is not None:
                    summary.failed[result.partition] = result.error
                else:
                    summary.ran += 1
                    summary.counts += result.counts
                progress.advance(rows[(result.stage, result.partition)], result.counts, result.error)

            _executor(options).run(dataset.root, {stage.name: stage for stage in stages}, items, on_result)
    for summary in summaries.values():
        summary.seconds = round(time.monotonic() - started, 3)
        _tell(console, dataset, summary)
        _log(dataset, summary)
    return list(summaries.values())


def dataset_for_ingest(root: Path, options: RunOptions, name: str | None = None) -> Dataset:
    """Opens the dataset at `root`, making it under `name` if there is none; a dry run makes nothing."""
    if options.dry_run and not (root / "dataset.json").exists():
        return Dataset(root, name or root.name, {})
    return Dataset.create(root, name)


def _prepare(dataset: Dataset, stage: Stage, options: RunOptions) -> tuple[Plan, Standing]:
    if not options.overwrite:
        refuse_changes(dataset, stage)
    plan = recorded_plan(dataset, stage)
    standing = compare(dataset, plan) if plan is not None else None
    if plan is None or standing is None or not is_plan_whole(dataset, plan, standing.todo):
        plan = write_plan(dataset, stage)
        standing = compare(dataset, plan)
    if options.overwrite:
        discard(dataset, standing.stale)
    else:
        refuse_stale(dataset, plan, standing)
    return plan, standing


def _limited(plan: Plan, standing: Standing, options: RunOptions) -> list[Any]:
    allowed = {entry.id for entry in plan.entries[: options.limit]}
    return [entry for entry in standing.todo if entry.id in allowed]


def _summary(plan: Plan, standing: Standing) -> StageSummary:
    counts = sum((commit.counts for commit in standing.done), Counts())
    rows = sum(entry.rows for entry in plan.entries)
    beside = dict(plan.counts)
    return StageSummary(plan.stage, len(plan.entries), rows, len(standing.done), counts=counts, planned_beside=beside)


def _preview(dataset: Dataset, stage: Stage, console: Console | None) -> StageSummary:
    plan = recorded_plan(dataset, stage) or preview_plan(dataset, stage)
    standing = compare(dataset, plan)
    summary = _summary(plan, standing)
    if console is not None:
        console.print(
            f"[bold]{plan.stage}[/]: {summary.planned_rows:,} rows in {summary.planned_partitions:,} partitions; "
            f"{summary.done_before:,} done, {len(standing.todo):,} to do. Nothing was run."
        )
        if summary.planned_beside:
            console.print(f"  {describe_beside(summary)}")
        if standing.stale:
            console.print(f"[yellow]{len(standing.stale)} earlier partitions do not match and would be refused[/]")
    return summary


def _executor(options: RunOptions) -> PartitionExecutor:
    if options.executor is Executor.INLINE:
        return InlineExecutor()
    if options.executor is Executor.RAY or options.address is not None:
        return RayExecutor(options.address, options.workers)
    return (AutoExecutor if options.executor is Executor.AUTO else ProcessExecutor)(options.workers)


def _tell(console: Console | None, dataset: Dataset, summary: StageSummary) -> None:
    if console is None:
        return
    from rich.markup import escape

    old = f", {summary.done_before} were done before" if summary.done_before else ""
    console.print(f"[bold]{summary.stage}[/]: {summary.ran} partitions run{old}. {describe_counts(summary.counts)}")
    if summary.planned_beside:
        console.print(f"  {describe_beside(summary)}")
    for partition, error in sorted(summary.failed.items())[:5]:
        console.print(f"[red]  partition {partition} failed:[/] {escape(error)}", markup=True, soft_wrap=True)
    if summary.failed:
        console.print(
            f"[red]  {len(summary.failed)} of {summary.planned_partitions} partitions failed[/]: see "
            f"{escape(str(dataset.root / 'failures' / summary.stage))}; the same command tries them again.",
            soft_wrap=True,
        )


def describe_beside(summary: StageSummary) -> str:
    """Returns one line about what was planned beside the rows."""
    return "beside the plan: " + ", ".join(f"{count:,} {name}" for name, count in summary.planned_beside.items())


def _log(dataset: Dataset, summary: StageSummary) -> None:
    line = {"time": time.time(), "command": sys.argv, **summary.as_json()}
    append_log(dataset.root, "runs", line)
