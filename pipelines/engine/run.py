"""Runs stages: plan, compare with the commits, execute what is missing, show progress, sum up."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipelines.console import open_console
from pipelines.engine.console import StageProgress, StageSummary, planning, print_preview, print_summary
from pipelines.engine.executors.select import PartitionExecutor, open_executor
from pipelines.engine.options import RunOptions
from pipelines.engine.partition import Batch, Result, WorkItem, record_failure
from pipelines.engine.planning import (
    PlanStatus,
    delete_outputs,
    has_options,
    plan_status,
    preview_plan,
    recorded_plan,
    stage_lock,
    write_plan,
)
from pipelines.engine.refusals import options_changed, results_stale
from pipelines.engine.stage import Stage
from x2i.reasons import Reason
from x2i.store import Dataset
from x2i.store.commits import Counts, list_commits
from x2i.store.files.remote import append_log
from x2i.store.plans import Plan, is_plan_whole, read_plan

if TYPE_CHECKING:
    from rich.console import Console


def run_stages(stages: Sequence[Stage], dataset: Dataset, options: RunOptions) -> None:
    """The end of every stage command: runs `stages` and exits with 0, or 1 if partitions failed or would be refused."""
    console = open_console(stderr=True)
    summaries = execute(stages, dataset, options, console)
    if options.json:
        typer.echo(json.dumps({"dataset": str(dataset.root), "stages": [s.as_json() for s in summaries]}, indent=2))
    if any(summary.failed or summary.refused for summary in summaries):
        raise typer.Exit(1)


def execute(
    stages: Sequence[Stage],
    dataset: Dataset,
    options: RunOptions,
    console: Console | None = None,
    executor: PartitionExecutor | None = None,
) -> list[StageSummary]:
    """Runs independent `stages` side by side on one dataset and returns a summary of each.

    executor: an open one that serves several calls (`open_executor`); None opens one as `options` say.
    Raises UserError before any work if earlier results were made from other options or inputs, unless
    `options.overwrite` is set.
    """
    if options.dry_run:
        return [_preview(dataset, stage, options, console) for stage in stages]
    started = time.monotonic()
    with ExitStack() as held:
        executor = executor or held.enter_context(open_executor(options))
        executor.prepare(stages)
        for stage in stages:
            held.enter_context(stage_lock(dataset, stage.name))
        prepared = []
        for stage in stages:
            with planning(console, stage.name):
                prepared.append(_prepare(dataset, stage, options))
        summaries = {plan.stage: _summary(plan, status) for plan, status in prepared}
        items = [item for plan, status in prepared for item in _items(plan, status, options.limit)]
        title = stages[0].name if len(stages) == 1 else f"{len(stages)} stages"
        with StageProgress(console, title, sum(item.entry.rows for item in items)) as progress:
            rows = {(item.stage, item.entry.id): item.entry.rows for item in items}

            def on_result(result: Result) -> None:
                summary = summaries[result.stage]
                if result.error is not None:
                    record_failure(dataset.root, result)
                    summary.failed[result.partition] = result.error
                else:
                    summary.ran += 1
                    summary.counts += result.counts
                    summary.worker_seconds += result.seconds
                    summary.busy_seconds += result.busy_seconds
                    summary.read_tokens += result.read_tokens
                    summary.written_tokens += result.written_tokens
                progress.advance(rows[result.stage, result.partition], result.counts, result.error)

            if items:
                executor.run(dataset.root, {stage.name: stage for stage in stages}, _batches(stages, items), on_result)
    for summary in summaries.values():
        summary.seconds = round(time.monotonic() - started, 3)
        if console is not None:
            print_summary(console, dataset.root, summary)
        append_log(dataset.root, "runs", {"time": time.time(), "command": sys.argv, **summary.as_json()})
    return list(summaries.values())


def dataset_for_ingest(root: Path, options: RunOptions, name: str | None = None) -> Dataset:
    """Opens the dataset at `root`, making it under `name` if there is none; a dry run makes nothing."""
    if options.dry_run and not (root / "dataset.json").exists():
        return Dataset(root, name or root.name, {})
    return Dataset.create(root, name)


def _prepare(dataset: Dataset, stage: Stage, options: RunOptions) -> tuple[Plan, PlanStatus]:
    earlier = read_plan(dataset.root, stage.name)
    if earlier is not None and not has_options(earlier, stage) and not options.overwrite:
        _refuse_if_committed(dataset, stage, earlier)  # before planning, which may be long
    plan = recorded_plan(dataset, stage)
    status = plan_status(dataset, plan) if plan is not None else None
    if plan is None or status is None or not is_plan_whole(dataset.root, plan, status.todo):
        plan = write_plan(dataset, stage)
        status = plan_status(dataset, plan)
    if options.overwrite:
        failed = [commit for commit in status.done if Reason.BACKEND_ERROR in commit.counts.failed]
        delete_outputs(dataset, [*status.stale, *failed])
        status = plan_status(dataset, plan)
    elif status.stale:
        raise results_stale(dataset, plan, status.stale)
    return plan, status


def _refuse_if_committed(dataset: Dataset, stage: Stage, earlier: Plan) -> None:
    if any(True for _ in list_commits(dataset.root, stage.name)):
        raise options_changed(dataset, stage, earlier)


def _items(plan: Plan, status: PlanStatus, limit: int | None) -> list[WorkItem]:
    """Returns what is to do among the first `limit` partitions of the plan."""
    allowed = {entry.id for entry in plan.entries[:limit]}
    return [WorkItem(plan.stage, entry) for entry in status.todo if entry.id in allowed]


def _batches(stages: Sequence[Stage], items: Sequence[WorkItem]) -> list[Batch]:
    """Returns the items in their order, those together that stages with the same `shares` plan for one partition."""
    shares = {stage.name: getattr(stage, "shares", stage.name) for stage in stages}
    together: dict[tuple[str, str], list[WorkItem]] = {}
    for item in items:
        together.setdefault((shares[item.stage], item.entry.id), []).append(item)
    return [tuple(batch) for batch in together.values()]


def _summary(plan: Plan, status: PlanStatus) -> StageSummary:
    counts = sum((commit.counts for commit in status.done), Counts())
    rows = sum(entry.rows for entry in plan.entries)
    skipped = dict(plan.counts)
    return StageSummary(plan.stage, len(plan.entries), rows, len(status.done), counts=counts, skipped=skipped)


def _preview(dataset: Dataset, stage: Stage, options: RunOptions, console: Console | None) -> StageSummary:
    with planning(console, stage.name):
        plan = recorded_plan(dataset, stage) or preview_plan(dataset, stage)
    status = plan_status(dataset, plan)
    summary = _summary(plan, status)
    summary.refused = 0 if options.overwrite else len(status.stale)
    if console is not None:
        print_preview(console, summary, len(status.todo), len(status.stale))
    return summary
