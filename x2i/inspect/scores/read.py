"""Reads the scores of a dataset: their histograms, the values of a sample of images, and which pictures to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.inspect.histograms import Histogram, linear_histogram, logarithmic_histogram
from x2i.store import Dataset
from x2i.store.query.views import IMAGES, View, connect, list_views

if TYPE_CHECKING:
    import duckdb

SAMPLED_IMAGES = 4000
"""Images whose values the page holds: shares are exact up to there, and within about 2% of the truth beyond."""
EVERY_PICTURE = 300
"""Datasets up to this size show all their pictures."""
PICKED = 16
"""Pictures of each score, twice: evenly by rank, and evenly by value, so that long tails are seen too."""
SKEW = 10
"""Positive values whose largest is this many times their median get a logarithmic axis."""
PLACES = ("data_offset", "data_size")


@dataclass(frozen=True)
class Score:
    """One numeric or true-or-false field of a column. name: as selections call it, "quality.sharpness".

    title: of its column. is_flag: whether it is true or false. is_logarithmic: of the histogram's axis.
    """

    name: str
    title: str
    is_flag: bool
    is_logarithmic: bool
    histogram: Histogram


@dataclass(frozen=True)
class ScoredImages:
    """Some stored images. table: key, data_offset, data_size. values_NS: of each score in order, NaN for none."""

    table: pa.Table
    values_NS: NDArray[np.float64]

    @property
    def keys(self) -> list[str]:
        return list(self.table["key"].to_pylist())


@dataclass(frozen=True)
class Scores:
    """The scores of a dataset. total: stored images. sample: some by chance. pictures: those to be shown."""

    total: int
    scores: tuple[Score, ...]
    sample: ScoredImages
    pictures: ScoredImages


def read_scores(dataset: Dataset) -> Scores:
    """Returns the scores of `dataset`. Raises UserError if it has no images or no scores."""
    views = list_views(dataset)
    with connect(dataset, views) as connection:
        scores = tuple(_scores(connection, views))
        if not scores:
            raise UserError(f"{dataset.root}: no scores yet: run `x2i filter` first")
        [(total,)] = connection.execute(f"SELECT count(*) FROM {IMAGES}").fetchall()
        sample = _images(connection, scores, f"ORDER BY hash(images.key), images.key LIMIT {SAMPLED_IMAGES}")
        if total <= EVERY_PICTURE:
            return Scores(total, scores, sample, sample)
        keys = sorted({*_evenly_by_rank(sample), *_evenly_by_value(connection, scores)})
        connection.register("chosen_keys", pa.table({"key": keys}))
        pictures = _images(connection, scores, "WHERE images.key IN (SELECT key FROM chosen_keys) ORDER BY images.key")
    return Scores(total, scores, sample, pictures)


def _scores(connection: duckdb.DuckDBPyConnection, views: Mapping[str, View]) -> Iterator[Score]:
    for name, view in views.items():
        spec = view.spec
        if spec is None or spec.kind != "column" or spec.rows != "one" or spec.made_by != "filter":
            continue
        for field in spec.schema:
            is_flag = pa.types.is_boolean(field.type)
            if is_flag or pa.types.is_floating(field.type) or pa.types.is_signed_integer(field.type):
                value = f'CAST("{field.name}" AS DOUBLE)'
                histogram = linear_histogram(connection, f'"{name}"', value, f"{name}.{field.name}")
                if histogram is None:
                    continue
                skewed = histogram.minimum > 0 and histogram.maximum > SKEW * histogram.median
                if skewed:
                    histogram = logarithmic_histogram(connection, f'"{name}"', value, histogram.title) or histogram
                yield Score(f"{name}.{field.name}", spec.title, is_flag, skewed, histogram)


def _images(connection: duckdb.DuckDBPyConnection, scores: Sequence[Score], which: str) -> ScoredImages:
    columns = dict.fromkeys(score.name.split(".")[0] for score in scores)
    joins = " ".join(f'LEFT JOIN "{name}" ON "{name}".key = images.key' for name in columns)
    values = ", ".join(f"CAST({_quoted(score.name)} AS DOUBLE) AS v{n}" for n, score in enumerate(scores))
    places = ", ".join(f"images.{name}" for name in ("key", *PLACES))
    table = connection.sql(f"SELECT {places}, {values} FROM images {joins} {which}").to_arrow_table()
    filled = [pc.fill_null(table[f"v{n}"], float("nan")).to_numpy() for n in range(len(scores))]
    return ScoredImages(table.select(["key", *PLACES]), np.stack(filled, axis=1))


def _evenly_by_rank(sample: ScoredImages) -> Iterator[str]:
    keys = sample.keys
    for values_N in sample.values_NS.T:
        order = np.argsort(values_N, kind="stable")[: np.isfinite(values_N).sum()]
        if len(order):
            places = np.linspace(0, len(order) - 1, PICKED).round().astype(int)
            yield from (keys[row] for row in order[places])


def _evenly_by_value(connection: duckdb.DuckDBPyConnection, scores: Sequence[Score]) -> Iterator[str]:
    for score in scores:
        column, value = score.name.split(".")[0], f"CAST({_quoted(score.name)} AS DOUBLE)"
        low, high = score.histogram.edges[0], score.histogram.edges[-1]
        place = "ln(v / $low) / ln($high / $low)" if score.is_logarithmic else "(v - $low) / ($high - $low)"
        rows = connection.execute(
            f'SELECT arg_min(key, hash(key)) FROM (SELECT key, {value} AS v FROM "{column}") '
            f"WHERE isfinite(v) GROUP BY floor({place} * {PICKED - 1})",
            {"low": low, "high": high},
        ).fetchall()
        yield from (key for (key,) in rows)


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))
