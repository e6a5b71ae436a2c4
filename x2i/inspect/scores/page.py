"""Writes the page of scores: one HTML file with the pictures inside, in which a person chooses cuts by looking."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from x2i.inspect.html import render_page
from x2i.inspect.scores.read import Score, ScoredImages, read_scores
from x2i.inspect.sheet.thumbnails import thumbnail_bytes
from x2i.store import Dataset, paths
from x2i.store.files.atomic import write_bytes
from x2i.store.files.tar import read_range

THUMBNAIL_SIDE = 128
DIGITS = 6


def write_scores_page(dataset: Dataset, path: Path) -> None:
    """Writes the scores of `dataset` to the HTML file `path`. Raises UserError if there are none."""
    found = read_scores(dataset)
    sampled = len(found.sample.keys)
    about = f"{found.total:,} stored images" if sampled == found.total else f"{sampled:,} of {found.total:,} images"
    document = {
        "dataset": str(dataset.root),
        "total": found.total,
        "scores": [_document(score) for score in found.scores],
        "sample": _columns(found.sample),
        "pictures": list(_pictures(dataset, found.pictures)),
    }
    page = render_page(
        "scores.html",
        "scores.css",
        "scores.js",
        title=dataset.name,
        kind="scores",
        about=f"Shares are of {about}.",
        scores=found.scores,
        document=document,
    )
    write_bytes(path, page)


def _document(score: Score) -> dict[str, Any]:
    edges = score.histogram.edges
    return {
        "name": score.name,
        "flag": score.is_flag,
        "logarithmic": score.is_logarithmic,
        "low": edges[0],
        "high": edges[-1],
        "start": 0.5 if score.is_flag else score.histogram.median,
    }


def _columns(images: ScoredImages) -> list[list[float | None]]:
    """Returns the values of each score, None where an image has none."""
    return [[_number(value) for value in values_N] for values_N in images.values_NS.T.tolist()]


def _number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _pictures(dataset: Dataset, images: ScoredImages) -> Iterator[dict[str, Any]]:
    for row, values_S in zip(images.table.to_pylist(), images.values_NS.tolist(), strict=True):
        tar = paths.image_tar(dataset.root, paths.image_partition(row["key"]))
        data = thumbnail_bytes(read_range(tar, row["data_offset"], row["data_size"]), THUMBNAIL_SIDE)
        if data is not None:
            source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
            yield {"key": row["key"], "src": source, "values": [_number(value) for value in values_S]}
