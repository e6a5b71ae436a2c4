"""Statistics for the terminal: totals, bars for what is counted, one line of small columns for what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from x2i.counting import counted
from x2i.inspect.formatting import describe_bytes, describe_license, describe_number, share
from x2i.inspect.histograms import Histogram
from x2i.inspect.stats.group_sums import Ranking
from x2i.inspect.stats.read import ImageStats, SampleStats, Stats

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

BAR, COLUMNS = 24, 20
LEVELS = "▁▂▃▄▅▆▇█"
EIGHTHS = " ▏▎▍▌▋▊▉"


def stats_text(stats: Stats, by: str | None = None) -> RenderableType:
    """Returns `stats` for the terminal; with `by`, every measure of that field's groups in a table."""
    from rich.console import Group

    parts: list[RenderableType] = []
    if stats.images is not None:
        parts += _images(stats.images, by)
    if stats.samples is not None:
        parts += _samples(stats.samples, by)
    return Group(*parts)


def ranking_rows(ranking: Ranking) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yields the groups of a ranking as people read them, the rest of them last."""
    for group in ranking.groups:
        name = describe_license(group.name) if ranking.field == "license" else group.name
        yield name or _unnamed(ranking.field), group.sums
    if ranking.others:
        yield f"{ranking.others:,} more", ranking.rest


def measure_text(name: str, value: float) -> str:
    """Returns one measure of a group in words."""
    return describe_bytes(round(value)) if name.endswith("bytes") else describe_number(round(value, 2))


def _images(stats: ImageStats, by: str | None) -> list[RenderableType]:
    from rich.rule import Rule

    whole = stats.attempted
    lost: list[tuple[str, float, str]] = [(reason, n, "yellow") for reason, n in stats.filtered.items()]
    lost += [(reason, n, "red") for reason, n in stats.failed.items()]
    stored = f"{describe_bytes(stats.bytes_stored)} stored of {describe_bytes(stats.bytes_fetched)} fetched"
    parts: list[RenderableType] = [
        Rule("images", align="left", style="dim"),
        f"[bold]{whole:,} attempted[/], [green]{stats.kept:,} kept[/] ({share(stats.kept, whole)}), "
        f"{stats.resized:,} made smaller; {stored}; {describe_number(round(stats.megapixels, 1))} megapixels; "
        f"{stats.with_text:,} with words",
    ]
    if lost:
        parts += ["", _bars("lost for", sorted(lost, key=lambda row: -row[1]), whole)]
    for field in ("format", "host", "license"):
        ranking = stats.rankings[field]
        rows = [(name, sums["images"], "cyan") for name, sums in ranking_rows(ranking)]
        parts += ["", _bars(f"{field} ({ranking.distinct:,})", rows, whole)]
    parts += ["", _histograms(stats.histograms)]
    if by is not None and by in stats.rankings:
        parts += ["", _measures(stats.rankings[by])]
    return parts


def _samples(stats: SampleStats, by: str | None) -> list[RenderableType]:
    from rich.rule import Rule

    parts: list[RenderableType] = [
        Rule("samples", align="left", style="dim"),
        f"[bold]{counted(stats.samples, 'samples')}[/] in {counted(stats.shards, 'shards')}, "
        f"{counted(stats.images, 'images')}, {describe_bytes(stats.bytes)}, "
        f"{describe_number(round(stats.megapixels, 1))} megapixels",
    ]
    for field in ("task", "num_inputs", "image_format"):
        rows = [(name, sums["samples"], "cyan") for name, sums in ranking_rows(stats.rankings[field])]
        parts += ["", _bars(field.replace("_", " "), rows, stats.samples)]
    parts += ["", _histograms(stats.histograms)]
    if by is not None and by in stats.rankings:
        parts += ["", _measures(stats.rankings[by])]
    return parts


def _bars(title: str, rows: Sequence[tuple[str, float, str]], whole: int) -> Table:
    from rich.text import Text

    table = _table(title, "", ">count", ">share")
    most = max((count for _, count, _ in rows), default=0) or 1
    for name, count, style in rows:
        label = Text(name, no_wrap=True, overflow="ellipsis")
        table.add_row(label, Text(_bar(count / most), style=style), f"{count:,.0f}", share(int(count), whole))
    table.columns[0].max_width = 44
    return table


def _histograms(histograms: Sequence[Histogram]) -> Table:
    from rich.text import Text

    table = _table("measured", "unit", "", ">least", ">median", ">mean", ">most")
    for data in histograms:
        numbers = (data.minimum, data.median, data.mean, data.maximum)
        columns = Text(_columns(data.counts), style="cyan", no_wrap=True)
        table.add_row(data.title, Text(data.unit, style="dim"), columns, *(_short(number) for number in numbers))
    return table


def _measures(ranking: Ranking) -> Table:
    from rich.text import Text

    names = list(ranking.groups[0].sums) if ranking.groups else []
    table = _table(ranking.field, *(f">{name.replace('_', ' ')}" for name in names))
    for name, sums in ranking_rows(ranking):
        label = Text(name, no_wrap=True, overflow="ellipsis")
        table.add_row(label, *(measure_text(measure, value) for measure, value in sums.items()))
    return table


def _table(*names: str) -> Table:
    from rich import box
    from rich.table import Table as RichTable

    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left")
    return table


def _bar(part: float) -> str:
    eighths = max(1, round(part * BAR * 8))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _columns(counts: Sequence[int]) -> str:
    step = -(-len(counts) // COLUMNS)
    sums = [sum(counts[start : start + step]) for start in range(0, len(counts), step)]
    most = max(sums) or 1
    return "".join(LEVELS[max(0, -(-n * len(LEVELS) // most) - 1)] if n else " " for n in sums)


def _short(value: float) -> str:
    return describe_number(round(value, 2) if value < 100 else round(value))


def _unnamed(field: str) -> str:
    return {"host": "(no host)", "license": "(not stated)", "format": "(not stored)"}.get(field, "(none)")
