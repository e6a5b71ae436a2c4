"""The report as one HTML file: the funnel, the reasons, what the images and samples are like, what training came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from x2i.counting import counted
from x2i.inspect.formatting import describe_bytes, describe_license, describe_number, share, task_title
from x2i.inspect.histograms import Histogram
from x2i.inspect.html import render_page
from x2i.inspect.report.funnel import Funnel, RecipeSteps, Step, TaskSize
from x2i.inspect.report.text import OUTDATED, describe_losses
from x2i.inspect.report.training import TrainingRun
from x2i.inspect.report.training_section import training_values
from x2i.inspect.svg import Bar
from x2i.store.files.atomic import write_bytes


def write_report_page(funnel: Funnel, distributions: Sequence[Histogram], run: TrainingRun | None, path: Path) -> None:
    """Writes the report to `path`: one file, pictures inside, nothing loaded from elsewhere."""
    licenses: Counter[str] = Counter()
    for license, count in funnel.licenses.items():
        licenses[describe_license(license)] += count
    page = render_page(
        "report.html",
        "report.css",
        title=funnel.name,
        kind="report",
        about=_about(funnel),
        figures=list(_figures(funnel, run)),
        funnel=funnel,
        outdated_title=OUTDATED,
        step_bars=list(_step_bars(funnel)),
        reasons=[(step, _reason_bars(step)) for step in funnel.steps if step.lost],
        distributions=distributions,
        host_bars=_counted(funnel.hosts, funnel.stored),
        license_bars=_counted(licenses, funnel.stored),
        task_bars=[Bar(task_title(task.task), ((task.samples, "kept"),), _task_note(task)) for task in funnel.tasks],
        recipes=[(recipe, _why(recipe)) for recipe in funnel.recipes],
        holes=[
            *funnel.holes,
            *(
                f"{stage}: {counted(n, 'partitions')} failed, see failures/{stage}"
                for stage, n in funnel.failures.items()
            ),
        ],
        run=run,
        **(training_values(run) if run is not None else {}),
    )
    write_bytes(path, page)


def _about(funnel: Funnel) -> str:
    if not funnel.attempted:
        return "Nothing has been crawled into this dataset yet."
    kept = f"{funnel.stored:,} of {funnel.attempted:,} attempted images were kept"
    return f"{kept}; they gave {counted(funnel.samples, 'training samples')} of {counted(len(funnel.tasks), 'tasks')}."


def _figures(funnel: Funnel, run: TrainingRun | None) -> Iterator[tuple[str, str, str]]:
    yield "attempted", f"{funnel.attempted:,}", "image addresses"
    yield "kept", f"{funnel.stored:,}", f"images, {share(funnel.stored, funnel.attempted)}".rstrip(", ")
    for name, rows in funnel.relations.items():
        yield name.replace("_", " "), f"{rows:,}", "rows that join images"
    yield "samples", f"{funnel.samples:,}", f"of {counted(len(funnel.tasks), 'tasks')}"
    yield "shards", f"{sum(t.shards for t in funnel.tasks):,}", describe_bytes(sum(t.bytes for t in funnel.tasks))
    if run is not None and run.trained is not None and run.untrained is not None:
        yield "validation loss", describe_number(run.trained.loss), f"untrained {describe_number(run.untrained.loss)}"


def _step_bars(funnel: Funnel) -> Iterator[Bar]:
    whole = funnel.attempted
    yield Bar("attempted", ((whole, "kept"),), f"{whole:,}")
    for step in funnel.steps:
        filtered, failed = sum(step.counts.filtered.values()), sum(step.counts.failed.values())
        note = f"{step.counts.ok:,} · {share(step.counts.ok, whole)}"
        yield Bar(step.title, ((step.counts.ok, "kept"), (filtered, "filtered"), (failed, "failed")), note)


def _reason_bars(step: Step) -> list[Bar]:
    lost = [(n, name, "filtered") for name, n in step.counts.filtered.items() if n]
    lost += [(n, name, "failed") for name, n in step.counts.failed.items() if n]
    return [Bar(name.replace("_", " "), ((n, kind),), f"{n:,}") for n, name, kind in sorted(lost, reverse=True)]


def _counted(counts: Mapping[str, int], whole: int) -> list[Bar]:
    return [Bar(name, ((count, "kept"),), f"{count:,} · {share(count, whole)}") for name, count in counts.items()]


def _task_note(task: TaskSize) -> str:
    return f"{task.samples:,} in {counted(task.shards, 'shards')}, {describe_bytes(task.bytes)}"


def _why(recipe: RecipeSteps) -> str:
    parts = [f"{name} {count:,}" for name, count in recipe.not_selected.items()]
    lines = [f"not selected: {', '.join(parts)}"] if parts else []
    if recipe.candidates == 0:
        lines.append("no candidates")
    return "; ".join([*lines, *filter(None, [describe_losses(recipe.counts)])])
