"""Statistics as one HTML file: plots as SVG inside it, every word of the data escaped, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from x2i.inspect.formatting import describe_bytes, describe_number, share
from x2i.inspect.html import key_figure, render_page, template
from x2i.inspect.stats.group_sums import Ranking
from x2i.inspect.stats.histograms import Spread
from x2i.inspect.stats.read import ImageStats, SampleStats, Stats
from x2i.inspect.stats.text import measure_text, ranking_rows
from x2i.inspect.svg import Bar, bar_chart, histogram_plot
from x2i.store.files.atomic import write_bytes


def write_stats_page(stats: Stats, path: Path, by: str | None = None) -> None:
    """Writes the page to `path`; with `by`, a table of that field's groups too."""
    sections: list[str] = []
    if stats.images is not None:
        sections += _image_sections(stats.images, by)
    if stats.samples is not None:
        sections += _sample_sections(stats.samples, by)
    page = render_page(
        "report.html",
        template("report.css"),
        "",
        title=escape(Path(stats.names[0]).name or stats.names[0]),
        about=escape(", ".join(stats.names)),
        kind="statistics",
        footer="Read by <code>x2i stats</code> from the indexes of the images and of the shards.",
        figures="".join(key_figure(*figure) for figure in _figures(stats)),
        sections="\n".join(sections),
    )
    write_bytes(path, page.encode())


def _figures(stats: Stats) -> Iterator[tuple[str, str, str]]:
    if (images := stats.images) is not None:
        yield "attempted", f"{images.attempted:,}", "image addresses"
        yield "kept", f"{images.kept:,}", f"{share(images.kept, images.attempted)} of them"
        fetched = describe_bytes(images.bytes_fetched)
        yield "stored", describe_bytes(images.bytes_stored), f"of {fetched} fetched, {images.resized:,} made smaller"
        yield "hosts", f"{images.rankings['host'].distinct:,}", f"{images.with_text:,} alt texts"
    if (samples := stats.samples) is not None:
        tasks = samples.rankings["task"].distinct
        yield "samples", f"{samples.samples:,}", f"of {tasks:,} tasks in {samples.shards:,} shards"
        yield "in shards", describe_bytes(samples.bytes), f"{samples.images:,} images"


def _image_sections(stats: ImageStats, by: str | None) -> Iterator[str]:
    lost = [(n, reason, "filtered") for reason, n in stats.filtered.items()]
    lost += [(n, reason, "failed") for reason, n in stats.failed.items()]
    whole = stats.attempted
    if lost:
        bars = [Bar("kept", ((stats.kept, "kept"),), f"{stats.kept:,} · {share(stats.kept, whole)}")]
        for n, reason, kind in sorted(lost, reverse=True):
            bars.append(Bar(reason.replace("_", " "), ((n, kind),), f"{n:,} · {share(n, whole)}"))
        yield _section(
            "What became of the addresses", f'<div class="plot">{bar_chart(bars, 1040, 200, "Reasons")}</div>'
        )
    yield _section("What the images are like", _plots(stats.spreads))
    charts = [_chart(stats.rankings[field], "images", whole) for field in ("host", "license", "format")]
    yield _section("Where they come from", f'<div class="columns wide">{"".join(charts)}</div>')
    if by is not None and by in stats.rankings:
        yield _section(f"By {by.replace('_', ' ')}", _table(stats.rankings[by]))


def _sample_sections(stats: SampleStats, by: str | None) -> Iterator[str]:
    charts = [_chart(stats.rankings[f], "samples", stats.samples) for f in ("task", "num_inputs", "image_format")]
    yield _section("Samples", f'<div class="columns wide">{"".join(charts)}</div>')
    yield _section("What the samples are like", _plots(stats.spreads))
    if by is not None and by in stats.rankings:
        yield _section(f"By {by.replace('_', ' ')}", _table(stats.rankings[by]))


def _chart(ranking: Ranking, measure: str, whole: int) -> str:
    bars = [
        Bar(name, ((sums[measure], "kept"),), f"{sums[measure]:,.0f} · {share(int(sums[measure]), whole)}")
        for name, sums in ranking_rows(ranking)
    ]
    title = ranking.field.replace("_", " ")
    plot = bar_chart(bars, 480, 190, title) if bars else ""
    return f"<div><h3>{escape(title)} <small>{ranking.distinct:,} in all</small></h3>{plot}</div>"


def _plots(spreads: Sequence[Spread]) -> str:
    plots = []
    for spread in spreads:
        data = spread.histogram
        extent = f"{describe_number(round(spread.minimum, 2))} to {describe_number(round(spread.maximum, 2))}"
        note = f"<small>{escape(data.unit)}; {data.total:,} values, {extent}</small>"
        plots.append(f"<div><h3>{escape(data.title)} {note}</h3>{histogram_plot(data)}</div>")
    return (
        f'<p>Every bin is a fixed factor wider than the one before it.</p><div class="columns">{"".join(plots)}</div>'
    )


def _table(ranking: Ranking) -> str:
    measures = list(ranking.groups[0].sums) if ranking.groups else []
    head = "".join(f'<th class="n">{escape(name.replace("_", " "))}</th>' for name in measures)
    rows = [
        f"<tr><td>{escape(name)}</td>"
        + "".join(f'<td class="n">{measure_text(measure, value)}</td>' for measure, value in sums.items())
        + "</tr>"
        for name, sums in ranking_rows(ranking)
    ]
    heading = f"<tr><th>{escape(ranking.field.replace('_', ' '))}</th>{head}</tr>"
    return f'<div class="table"><table>{heading}{"".join(rows)}</table></div>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"
