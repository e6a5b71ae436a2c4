"""The gallery's pictures: of each task a sample, of each score images from low to high, of each column and relation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.gallery.strips import write_strip
from x2i.annotate import ANNOTATIONS
from x2i.image import decode, encode
from x2i.inspect.sheet.columns import write_column_sheet
from x2i.inspect.target import Kind, SampleView, Target, select_samples
from x2i.store import Dataset

SHOWN = 5
ON_A_SHEET = 4
HIDDEN = ("key", "model", "revision", "phash", "list", "range")


def task_pictures(dataset: Dataset, folder: Path) -> dict[str, tuple[Path, str]]:
    """Draws one sample of each task; returns task -> (picture, instruction)."""
    target = Target(Kind.DATASET, dataset.root, dataset)
    chosen = select_samples(target, None, 1).shown
    return {task: _task_picture(views[0], folder / f"{task}.webp") for task, views in chosen.items()}


def _task_picture(view: SampleView, path: Path) -> tuple[Path, str]:
    *inputs, output = view.images
    named = [(data, f"input {number}") for number, data in enumerate(inputs, start=1)]
    return write_strip(path, [*named, (output, "output")]), view.sample.instruction


def score_pictures(dataset: Dataset, folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Draws images from low to high, of each number of each score; yields (score, field, picture)."""
    for name in dataset.columns():
        if name not in ANNOTATIONS or ANNOTATIONS.get(name).made_by != "filter":
            continue
        table = dataset.column(name)
        for field in table.schema:
            numeric = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
            if not numeric or field.name in HIDDEN:
                continue
            rows = table.filter(table[field.name].is_valid()).sort_by([(field.name, "ascending"), ("key", "ascending")])
            values = {f"{row[field.name]:.3g}": row for row in rows.to_pylist()}
            if not values:
                continue
            places = np.linspace(0, len(values) - 1, min(SHOWN, len(values))).round().astype(int)
            picked = [list(values.items())[place] for place in places]
            images = [(dataset.image(row["key"])[1], f"{row.get('language') or ''} {text}") for text, row in picked]
            yield name, field.name, write_strip(folder / f"{name}.{field.name}.webp", images)


def column_pictures(dataset: Dataset, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draws each column that is no score, on the images it says something about; yields (column, picture)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in dataset.columns():
        if name not in ANNOTATIONS or ANNOTATIONS.get(name).made_by == "filter":
            continue
        if name == "embeddings":
            yield name, neighbors(dataset, folder / f"{name}.webp")
            continue
        path = folder / f"{name}.webp"
        write_column_sheet(dataset, name, path, ON_A_SHEET)
        yield name, path


def neighbors(dataset: Dataset, path: Path) -> Path:
    """Draws a photograph and the images whose embeddings are most like its own."""
    table = dataset.column("embeddings")
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    keys = table["key"].to_pylist()
    likeness = vectors @ vectors[len(keys) // 2]
    order = np.argsort(-likeness, kind="stable")[:SHOWN]
    return write_strip(path, [(dataset.image(keys[place])[1], f"{likeness[place]:.2f}") for place in order])


def relation_pictures(dataset: Dataset, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draws of each relation one group: copies with the one that is kept, or a subject with where it is found again."""
    for name in dataset.relations():
        rows = dataset.relation(name).to_pylist()
        images = _copies(dataset, rows) if rows and "is_duplicate" in rows[0] else _subjects(dataset, rows)
        if images:
            yield name, write_strip(folder / f"{name}.webp", images)


def _copies(dataset: Dataset, rows: Sequence[Mapping[str, Any]]) -> list[tuple[bytes, str]]:
    clusters = [row["cluster"] for row in rows if row["is_duplicate"]]
    shown = [row for row in rows if clusters and row["cluster"] == clusters[0]][:SHOWN]
    return [(dataset.image(row["key"])[1], "duplicate" if row["is_duplicate"] else "kept") for row in shown]


def _subjects(dataset: Dataset, rows: Sequence[Mapping[str, Any]]) -> list[tuple[bytes, str]]:
    for row in sorted(rows, key=lambda row: (-len(row.get("inputs", ())), -(row.get("inliers") or 0))):
        parts = zip(row.get("inputs", ()), row.get("boxes", ()), row.get("phrases", ()), strict=True)
        inputs = [(_part(dataset, key, box), phrase or "input") for key, box, phrase in parts]
        return [*inputs, (dataset.image(row["target"])[1], "target")] if inputs else []
    return []


def _part(dataset: Dataset, key: str, box: Sequence[int]) -> bytes:
    """Returns an image as it is stored, or the part of it in `box`, as JPEG."""
    data = dataset.image(key)[1]
    if not box:
        return data
    x0, y0, x1, y1 = box
    return encode(np.ascontiguousarray(decode(data)[y0:y1, x0:x1]), "jpeg", 92)
