"""What is in a dataset, a shard or a table, as tables for the terminal and as plain values for scripts."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from x2i.counting import counted
from x2i.errors import UserError
from x2i.image_record import ImageRecord
from x2i.inspect.formatting import describe_bytes, describe_number
from x2i.inspect.gallery.lineage import SourceImage, presentable
from x2i.inspect.target import SampleView, Selection, Target, shard_rows
from x2i.reasons import Status
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.store import Dataset
from x2i.store.commits import Counts, list_commits, list_stages
from x2i.store.files.cache import local_copy

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

STORAGE_FIELDS = {"data_offset", "data_size"}  # where the bytes lie says nothing about the picture


def dataset_overview(dataset: Dataset) -> dict[str, Any]:
    """Returns the overview of a dataset as JSON values: images, columns, relations, shards by task, stages."""
    ingest = dataset.image_commits()
    counts = sum((commit.counts for commit in ingest), Counts())
    tasks: dict[str, dict[str, int]] = {}
    for shard in dataset.shards():
        for task, samples in Counter(shard.index(["task"])["task"].to_pylist()).items():
            entry = tasks.setdefault(task, {"shards": 0, "samples": 0, "bytes": 0})
            entry["shards"] += 1
            entry["samples"] += samples
            entry["bytes"] += shard.tar.stat().st_size
    return {
        "name": dataset.name,
        "path": str(dataset.root),
        "images": {"partitions": len(ingest), "attempted": counts.total, **asdict(counts)},
        "columns": {folder.name: _rows(folder.glob("*.parquet")) for folder in _folders(dataset.root / "columns")},
        "relations": {path.stem: _rows([path]) for path in sorted((dataset.root / "relations").glob("*.parquet"))},
        "tasks": dict(sorted(tasks.items())),
        "stages": {
            stage: asdict(sum((commit.counts for commit in list_commits(dataset.root, stage)), Counts()))
            for stage in list_stages(dataset.root)
        },
    }


def overview_table(overview: dict[str, Any]) -> RenderableType:
    """Returns `dataset_overview` for the terminal."""
    from rich.console import Group
    from rich.markup import escape

    images = overview["images"]
    heading = f"[bold]{escape(overview['name'])}[/]  [dim]{escape(overview['path'])}[/]"
    lost = _reasons("filtered", images["filtered"], "yellow") + _reasons("failed", images["failed"], "red")
    lines = [
        heading,
        f"images     {images['attempted']:,} attempted in {counted(images['partitions'], 'partitions')}: "
        f"[green]{images['ok']:,} ok[/]{lost}",
        f"columns    {_named(overview['columns'])}",
        f"relations  {_named(overview['relations'])}",
    ]
    table = _table("task", ">samples", ">shards", ">size")
    for task, entry in overview["tasks"].items():
        table.add_row(task, f"{entry['samples']:,}", f"{entry['shards']:,}", describe_bytes(entry["bytes"]))
    samples = sum(entry["samples"] for entry in overview["tasks"].values())
    total = f"[bold]{counted(samples, 'samples')} of {counted(len(overview['tasks']), 'tasks')}[/]"
    return Group(*lines, "", table, total) if overview["tasks"] else Group(*lines, "shards     none yet")


def sample_rows(target: Target, task: str | None) -> list[dict[str, Any]]:
    """Returns the index rows of a target's samples, without byte positions; of one task if given.

    Raises UserError if there is no such task.
    """
    rows = [row for shard in target.shards() for row in shard_rows(shard)]
    tasks = {row["task"] for row in rows}
    if task is not None and task not in tasks:
        raise UserError(f"{target.path}: no samples of task {task!r}; there are: {', '.join(sorted(tasks)) or 'none'}")
    hidden = {"json_offset", "json_size", "image_offsets"}
    return [{k: v for k, v in row.items() if k not in hidden} for row in rows if task in (None, row["task"])]


def samples_table(rows: list[dict[str, Any]]) -> Table:
    """Returns index rows for the terminal, one line each: key, sizes, size in bytes, scores, instruction."""
    from rich.text import Text

    several = len({row["task"] for row in rows}) > 1
    table = _table("key", *(["task"] if several else []), "sizes", ">size", "scores", "instruction")
    for row in rows:
        table.add_row(
            Text(row["key"], no_wrap=True),
            *([row["task"]] if several else []),
            ", ".join(dict.fromkeys(f"{width}x{height}" for width, height in row["image_sizes"])),
            describe_bytes(sum(row["image_bytes"])),
            _line(row["scores"].strip("{}").replace('"', "").replace(",", " ")),
            _line(shorten(row["instruction"], 200)),
        )
    table.columns[0].min_width = max((len(row["key"]) for row in rows), default=None)
    return table


def images_table(records: list[ImageRecord]) -> Table:
    """Returns image records for the terminal, one line each."""
    from rich.text import Text

    table = _table("key", "status", "pixels", ">size", "license", "text or address")
    colors = {Status.OK: "green", Status.FILTERED: "yellow", Status.FAILED: "red"}
    for record in records:
        kept = record.status is Status.OK
        table.add_row(
            Text(record.key, no_wrap=True),
            Text("ok" if kept else f"{record.status}: {record.reason}", style=colors[record.status], no_wrap=True),
            f"{record.width}x{record.height}" if kept else "",
            describe_bytes(record.data_size) if kept else "",
            _line(record.license),
            _line(record.text or record.url),
        )
    table.columns[0].min_width = max((len(record.key) for record in records), default=None)
    return table


def plain_table(path: Path, limit: int, key: str | None = None) -> tuple[list[dict[str, Any]], int]:
    """Returns the first `limit` rows of any Parquet file (of one key, if given) and the number of rows it has."""
    filters = [("key", "=", key)] if key is not None else None
    if filters is not None:
        rows = pq.read_table(local_copy(path), filters=filters).to_pylist()
        return rows[:limit], len(rows)
    file = pq.ParquetFile(local_copy(path))
    rows = []
    for batch in file.iter_batches(batch_size=limit):
        rows += batch.to_pylist()
        if len(rows) >= limit:
            break
    return rows[:limit], file.metadata.num_rows


def rows_table(rows: list[dict[str, Any]]) -> Table:
    """Returns rows of any table for the terminal, long values shortened."""
    from rich.text import Text

    table = _table(*(rows[0] if rows else ["(no rows)"]))
    for row in rows:
        shown = presentable(row)
        table.add_row(*(Text(shorten(_cell(shown.get(name)), 60)) for name in row))
    return table


def sample_document(view: SampleView, sources: dict[str, SourceImage]) -> dict[str, Any]:
    """Returns a sample whole: its JSON, where it lies, and each source image with its columns' values."""
    sample = view.sample
    return {
        "shard": view.shard.tar.name,
        "sample": {
            **asdict(sample),
            "recipe": {**vars(sample.recipe), "parameters": dict(sample.recipe.parameters)},
            "scores": dict(sample.scores),
        },
        "images": [
            {"name": name, "bytes": size, "width": width, "height": height}
            for name, size, (width, height) in zip(view.image_names, view.row["image_bytes"], sample.sizes)
        ],
        "sources": [source_document(sources[uid]) if uid in sources else {"uid": uid} for uid in sample.source.uids],
    }


def source_document(source: SourceImage) -> dict[str, Any]:
    """Returns an image's record without empty fields, and its columns' rows, as JSON values."""
    fields = presentable(vars(source.record))
    empty = (0, -1, "{}")
    record = {name: value for name, value in fields.items() if value not in empty and name not in STORAGE_FIELDS}
    record |= {"status": str(source.record.status)}
    return {**record, "columns": {name: [presentable(row) for row in rows] for name, rows in source.columns.items()}}


def shorten(text: str, most: int) -> str:
    """Returns `text` on one line with placeholders as [1], cut to `most` characters."""
    plain = " ".join(PLACEHOLDER_PATTERN.sub(r"[\1]", text).split())
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."


def not_shown(selection: Selection) -> str:
    """Says how many samples a selection leaves out, "" if none."""
    hidden = selection.total - selection.count
    return f"{hidden:,} of {counted(selection.total, 'samples')} not shown" if hidden else ""


def _table(*names: str) -> Table:
    from rich import box
    from rich.table import Table as RichTable

    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left")
    return table


def _line(text: str) -> Text:
    from rich.text import Text as RichText

    return RichText(text, no_wrap=True, overflow="ellipsis")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return describe_number(value) if isinstance(value, float) else str(value)


def _reasons(label: str, reasons: dict[str, int], color: str) -> str:
    if not reasons:
        return ""
    detail = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    return f", [{color}]{sum(reasons.values()):,} {label}[/] [dim]({detail})[/]"


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} [dim]({counted(rows, 'rows')})[/]" for name, rows in counts.items()) or "[dim]none yet[/]"


def _rows(files: Any) -> int:
    return sum(pq.read_metadata(local_copy(path)).num_rows for path in files)


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.glob("*") if folder.is_dir())
