"""Statistics as one HTML file: plots as SVG inside it, every word of the data escaped, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from x2i.counting import counted
from x2i.inspect.formatting import describe_bytes, share
from x2i.inspect.html import render_page
from x2i.inspect.stats.group_sums import Ranking
from x2i.inspect.stats.read import ImageStats, Stats
from x2i.inspect.stats.text import measure_text, ranking_rows
from x2i.inspect.svg import Bar
from x2i.store.files.atomic import write_bytes


def write_stats_page(stats: Stats, path: Path, by: str | None = None) -> None:
    """Writes the page to `path`; with `by`, a table of that field's groups too."""
    page = render_page(
        "stats.html",
        "report.css",
        title=Path(stats.names[0]).name or stats.names[0],
        kind="statistics",
        about=", ".join(stats.names),
        figures=list(_figures(stats)),
        images=stats.images,
        samples=stats.samples,
        lost_bars=_lost_bars(stats.images) if stats.images is not None else [],
        by=by,
        ranking_bars=_ranking_bars,
        ranking_rows=ranking_rows,
        measure_text=measure_text,
    )
    write_bytes(path, page)


def _figures(stats: Stats) -> Iterator[tuple[str, str, str]]:
    if (images := stats.images) is not None:
        yield "attempted", f"{images.attempted:,}", "image addresses"
        yield "kept", f"{images.kept:,}", f"{share(images.kept, images.attempted)} of them"
        fetched = describe_bytes(images.bytes_fetched)
        yield "stored", describe_bytes(images.bytes_stored), f"of {fetched} fetched, {images.resized:,} made smaller"
        yield "hosts", f"{images.rankings['host'].distinct:,}", f"{images.with_text:,} alt texts"
    if (samples := stats.samples) is not None:
        tasks = samples.rankings["task"].distinct
        yield "samples", f"{samples.samples:,}", f"of {counted(tasks, 'tasks')} in {counted(samples.shards, 'shards')}"
        yield "in shards", describe_bytes(samples.bytes), f"{samples.images:,} images"


def _lost_bars(stats: ImageStats) -> list[Bar]:
    """Returns a bar for the kept images and one for each reason of loss; none if nothing was lost."""
    whole = stats.attempted
    lost = [(n, reason, "filtered") for reason, n in stats.filtered.items()]
    lost += [(n, reason, "failed") for reason, n in stats.failed.items()]
    kept = [Bar("kept", ((stats.kept, "kept"),), f"{stats.kept:,} · {share(stats.kept, whole)}")] if lost else []
    return kept + [
        Bar(reason.replace("_", " "), ((n, kind),), f"{n:,} · {share(n, whole)}")
        for n, reason, kind in sorted(lost, reverse=True)
    ]


def _ranking_bars(ranking: Ranking, measure: str, whole: int) -> list[Bar]:
    return [
        Bar(name, ((sums[measure], "kept"),), f"{sums[measure]:,.0f} · {share(int(sums[measure]), whole)}")
        for name, sums in ranking_rows(ranking)
    ]
