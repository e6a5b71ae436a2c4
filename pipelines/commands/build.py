"""`x2i build`: runs a manifest end to end, from sources to shards, pictures and a trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.engine.options import OutOption, RunOptions
from x2i.command_options import with_options
from x2i.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipelines.engine.console import StageSummary
    from pipelines.engine.stage import Stage
    from pipelines.manifest import Manifest
    from x2i.store import Dataset

RUN_FOLDER = "run"


@with_options
def command(
    manifest: Annotated[Path, typer.Argument(help="A YAML manifest, or the name of one of `x2i list manifests`.")],
    out: OutOption,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one option: STEP.option=value, the value as YAML; may be repeated."),
    ] = None,
    train: Annotated[bool, typer.Option(help="Train at the end, if the manifest says so.")] = True,
    *,
    run: RunOptions,
) -> None:
    """Build a dataset, and train on it, from a manifest, end to end.

    Runs the manifest's steps, each after those whose results it reads, checks the dataset, and, where the manifest says
    `inspect: {}`, draws the contact sheet, the gallery and the report. Run it again and it does only what is missing.
    --set STEP.option=value changes an option of the steps of that name, or of the step whose column has it.

        x2i build my-manifest.yaml --out data

        x2i build x2i --out data --set "crawl.sources=[urls.parquet]" --dry-run
    """
    from pipelines.console import open_console
    from pipelines.engine.executors.select import open_executor
    from pipelines.engine.run import dataset_for_ingest, execute
    from pipelines.manifest import find_manifest, load_manifest

    console = open_console(stderr=True)
    plan = load_manifest(find_manifest(manifest), list(overrides or ()))
    dataset = dataset_for_ingest(out, run, plan.name)
    require_selected(plan, dataset)
    summaries: list[StageSummary] = []
    unmade: set[str] = set()
    with open_executor(run) as executor:
        for group in plan.stage_groups():
            ready = group
            if run.dry_run:
                ready = [stage for stage in group if not (set(stage.reads) & unmade)]
                for stage in (stage for stage in group if stage not in ready):
                    missing = ", ".join(sorted(set(stage.reads) & unmade))
                    console.print(f"[bold]{stage.name}[/]: planned after {missing}")
            made = execute(runs_of(ready, dataset, run), dataset, run, console, executor)
            done = {summary.stage for summary in made if summary.done_before == summary.planned_partitions > 0}
            unmade |= {stage.writes for stage in group if run.dry_run and stage.name not in done} - {""}
            summaries += made
            if any(summary.failed for summary in summaries):
                break
    failed = any(summary.failed for summary in summaries)
    if not run.dry_run and not failed:
        finish(plan, dataset, console, train=train)
    if run.json:
        stages = [summary.as_json() for summary in summaries]
        typer.echo(json.dumps({"dataset": str(dataset.root), "stages": stages}, indent=2))
    if failed or any(summary.refused for summary in summaries):
        raise typer.Exit(1)


def require_selected(plan: Manifest, dataset: Dataset) -> None:
    """Raises UserError if a selection names a table that no step makes and the dataset does not have."""
    from pipelines.stages.materialize import MaterializeStage
    from x2i.recipes.plan import CANDIDATE
    from x2i.store.query.views import Selection, list_views

    there = {"images", CANDIDATE, *(stage.writes for stage in plan.stages), *list_views(dataset)}
    for stage in plan.stages:
        absent = Selection(stage.select).tables() - there if isinstance(stage, MaterializeStage) else frozenset()
        if absent:
            made = ", ".join(sorted(there - {"", CANDIDATE}))
            raise UserError(f"{stage.name}: select names {min(absent)}, which no step makes; there will be: {made}")


def runs_of(group: Sequence[Stage], dataset: Dataset, run: RunOptions) -> list[Stage]:
    """Returns the stages that run for those of a manifest: a crawl may have to be continued, and then begun anew."""
    from pipelines.stages.crawl.incremental import crawl_runs
    from pipelines.stages.crawl.stage import CrawlStage

    crawls: list[Stage] = []
    for stage in group:
        crawls += crawl_runs(dataset, stage, overwrite=run.overwrite) if isinstance(stage, CrawlStage) else [stage]
    return crawls


def finish(plan: Manifest, dataset: Dataset, console: Console, *, train: bool) -> None:
    """Verifies the dataset, draws the sheet and the gallery, trains, and writes the report last, which tells it all."""
    from pipelines.commands.verify import verify_dataset

    verify_dataset(dataset.root, console)
    if plan.inspect is not None:
        from pipelines.commands.inspect import draw

        draw(dataset, sheet=dataset.root / "sheet.png", per_task=plan.inspect.per_task)
        if plan.inspect.gallery:
            draw(dataset, gallery=dataset.root / "gallery")
    run_folder = None
    if plan.train is not None and train:
        from omnigen.train.run import train as train_model

        run_folder = dataset.root / RUN_FOLDER
        overrides = [f"{name}={json.dumps(value)}" for name, value in plan.train.set.items()]
        shards = f"data.shards={json.dumps([str(dataset.root)])}"
        train_model(plan.train.config, [shards, *overrides], "auto", run_folder)
    if plan.inspect is not None:
        from rich.markup import escape

        from pipelines.commands.report import write_report

        write_report(dataset, dataset.root / "report.html", run_folder)
        drawn = ["sheet.png", *(["gallery/index.html"] if plan.inspect.gallery else []), "report.html"]
        console.print(f"to look at: {', '.join(escape(str(dataset.root / name)) for name in drawn)}", soft_wrap=True)
