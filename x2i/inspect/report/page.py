"""The report as one HTML file: the funnel, the reasons, what the images and samples are like, what training came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from x2i.inspect.formatting import describe_bytes, describe_license, describe_number, share, task_title
from x2i.inspect.html import key_figure, render_page, template
from x2i.inspect.report.distributions import Histogram
from x2i.inspect.report.funnel import Funnel, RecipeSteps, TaskSize
from x2i.inspect.report.text import describe_losses
from x2i.inspect.report.training import TrainingRun
from x2i.inspect.report.training_section import training_section
from x2i.inspect.svg import Bar, bar_chart, histogram_plot
from x2i.store.files.atomic import write_bytes


def write_report_page(funnel: Funnel, distributions: Sequence[Histogram], run: TrainingRun | None, path: Path) -> None:
    """Writes the report to `path`: one file, pictures inside, nothing loaded from elsewhere."""
    sections = [
        _images_section(funnel),
        _reasons_section(funnel),
        _distributions_section(distributions),
        _origins_section(funnel),
        _samples_section(funnel),
        training_section(run) if run is not None else "",
        _holes_section(funnel),
    ]
    page = render_page(
        "report.html",
        template("report.css"),
        "",
        title=escape(funnel.name),
        about=escape(_about(funnel)),
        kind="report",
        footer=f"Every number here comes from the commit records and columns of {escape(funnel.path)}, read by "
        "<code>x2i report</code>.",
        figures="".join(key_figure(*figure) for figure in _figures(funnel, run)),
        sections="\n".join(section for section in sections if section),
    )
    write_bytes(path, page.encode())


def _about(funnel: Funnel) -> str:
    if not funnel.attempted:
        return "Nothing has been crawled into this dataset yet."
    kept = f"{funnel.stored:,} of {funnel.attempted:,} attempted images were kept"
    return f"{kept}; they gave {funnel.samples:,} training samples of {len(funnel.tasks)} tasks."


def _figures(funnel: Funnel, run: TrainingRun | None) -> Iterator[tuple[str, str, str]]:
    yield "attempted", f"{funnel.attempted:,}", "image addresses"
    yield "kept", f"{funnel.stored:,}", f"images, {share(funnel.stored, funnel.attempted)}".rstrip(", ")
    if funnel.pairs is not None:
        yield "pairs", f"{funnel.pairs:,}", "of images of one subject"
    yield "samples", f"{funnel.samples:,}", f"of {len(funnel.tasks)} tasks"
    yield "shards", f"{sum(t.shards for t in funnel.tasks):,}", describe_bytes(sum(t.bytes for t in funnel.tasks))
    if run is not None and run.trained is not None and run.untrained is not None:
        yield "validation loss", describe_number(run.trained.loss), f"untrained {describe_number(run.untrained.loss)}"


def _images_section(funnel: Funnel) -> str:
    if not funnel.attempted:
        return ""
    whole = funnel.attempted
    bars = [Bar("attempted", ((whole, "kept"),), f"{whole:,}")]
    for step in funnel.steps:
        filtered, failed = sum(step.counts.filtered.values()), sum(step.counts.failed.values())
        note = f"{step.counts.ok:,} · {share(step.counts.ok, whole)}"
        bars.append(Bar(step.title, ((step.counts.ok, "kept"), (filtered, "filtered"), (failed, "failed")), note))
    legend = _legend({"went on": "accent", "dropped by a rule": "filtered", "went wrong": "failed"})
    text = (
        "Every stage after the first looks at all stored images and writes its findings beside them, so its bar starts "
        "from the images kept, not from the bar above it."
    )
    return _section("From addresses to images", f"<p>{text}</p>{legend}{_plot(bar_chart(bars, 1040, 250, 'Funnel'))}")


def _reasons_section(funnel: Funnel) -> str:
    blocks = []
    for step in funnel.steps:
        lost = [(n, name, "filtered") for name, n in step.counts.filtered.items() if n]
        lost += [(n, name, "failed") for name, n in step.counts.failed.items() if n]
        if lost:
            bars = [Bar(name.replace("_", " "), ((n, kind),), f"{n:,}") for n, name, kind in sorted(lost, reverse=True)]
            heading = f"<h3>{escape(step.stage)} <small>{step.lost:,} of {step.counts.total:,}</small></h3>"
            blocks.append(f"<div>{heading}{bar_chart(bars, 480, 170, f'Reasons at {step.stage}')}</div>")
    if not blocks:
        return ""
    return _section("Why images were lost", f'<div class="columns wide">{"".join(blocks)}</div>')


def _distributions_section(distributions: Sequence[Histogram]) -> str:
    if not distributions:
        return ""
    plots = [
        f"<div><h3>{escape(data.title)} <small>{escape(data.unit)} {data.total:,} values</small></h3>"
        f"{histogram_plot(data)}</div>"
        for data in distributions
    ]
    return _section("What the images are like", f'<div class="columns">{"".join(plots)}</div>')


def _origins_section(funnel: Funnel) -> str:
    if not funnel.stored:
        return ""
    licenses: Counter[str] = Counter()
    for license, count in funnel.licenses.items():
        licenses[describe_license(license)] += count
    more = f" <small>{funnel.other_hosts:,} more hosts are not shown</small>" if funnel.other_hosts else ""
    return _section(
        "Where they come from",
        f'<div class="columns wide"><div><h3>hosts{more}</h3>{_counted(funnel.hosts, funnel.stored, "Hosts")}</div>'
        f"<div><h3>licenses</h3>{_counted(licenses, funnel.stored, 'Licenses')}</div></div>",
    )


def _counted(counts: Mapping[str, int], whole: int, title: str) -> str:
    bars = [Bar(name, ((count, "kept"),), f"{count:,} · {share(count, whole)}") for name, count in counts.items()]
    return bar_chart(bars, 480, 190, title)


def _samples_section(funnel: Funnel) -> str:
    if not funnel.tasks and not funnel.recipes:
        return ""
    bars = [Bar(task_title(t.task), ((t.samples, "kept"),), _task_note(t)) for t in funnel.tasks]
    chart = _plot(bar_chart(bars, 1040, 200, "Samples per task")) if bars else ""
    return _section("Samples per task", f"{chart}{_recipes_table(funnel)}")


def _task_note(task: TaskSize) -> str:
    shards = "1 shard" if task.shards == 1 else f"{task.shards:,} shards"
    return f"{task.samples:,} in {shards}, {describe_bytes(task.bytes)}"


def _recipes_table(funnel: Funnel) -> str:
    if not funnel.recipes:
        return ""
    rows = []
    for recipe in funnel.recipes:
        candidates = f"{recipe.candidates:,}" if recipe.candidates is not None else "not known"
        numbers = "".join(
            f'<td class="n">{n}</td>' for n in (candidates, f"{recipe.selected:,}", f"{recipe.counts.ok:,}")
        )
        rows.append(f'<tr><td>{escape(recipe.recipe)}</td>{numbers}<td class="why">{escape(_why(recipe))}</td></tr>')
    head = '<tr><th>recipe</th><th class="n">candidates</th><th class="n">selected</th><th class="n">samples</th>'
    return f'<div class="table"><table>{head}<th>why not more</th></tr>{"".join(rows)}</table></div>'


def _why(recipe: RecipeSteps) -> str:
    parts = [f"{name} {count:,}" for name, count in recipe.not_selected.items()]
    lines = [f"not selected: {', '.join(parts)}"] if parts else []
    if recipe.candidates == 0:
        lines.append("no candidates")
    return "; ".join([*lines, *filter(None, [describe_losses(recipe.counts)])])


def _holes_section(funnel: Funnel) -> str:
    holes = [
        *funnel.holes,
        *(f"{stage}: {count:,} partitions failed, see failures/{stage}" for stage, count in funnel.failures.items()),
    ]
    if not holes:
        return ""
    items = "".join(f"<li>{escape(hole)}</li>" for hole in holes)
    return _section(
        "What is not there", f"<p>Named, so that nothing looks done that is not.</p><ul class='holes'>{items}</ul>"
    )


def _legend(names: Mapping[str, str]) -> str:
    swatches = "".join(f'<span style="--swatch:var(--{color})">{escape(name)}</span>' for name, color in names.items())
    return f'<div class="legend">{swatches}</div>'


def _plot(svg: str) -> str:
    return f'<div class="plot">{svg}</div>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"
