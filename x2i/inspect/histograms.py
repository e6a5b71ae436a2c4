"""Histograms of SQL expressions, computed by DuckDB."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Histogram:
    """counts[i] values lie in [edges[i], edges[i + 1]), the last one closed.

    total: values counted. minimum, mean and maximum are exact; the median is DuckDB's approximate quantile.
    """

    title: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float
    total: int
    minimum: float
    mean: float
    maximum: float


def linear_histogram(
    database: duckdb.DuckDBPyConnection, table: str, value: str, title: str, unit: str = "", bins: int = 24
) -> Histogram | None:
    """Returns the histogram of the finite values of the SQL expression `value` over `table`, in bins of one width.

    None if there are no such values.
    """
    return _histogram(database, f"FROM {table} SELECT CAST({value} AS DOUBLE) AS v", title, unit, bins, False)


def logarithmic_histogram(
    database: duckdb.DuckDBPyConnection, table: str, value: str, title: str, unit: str = "", bins: int = 40
) -> Histogram | None:
    """Like `linear_histogram`, of positive values, in bins each a fixed factor wider than the one before it."""
    values = f"FROM {table} SELECT CASE WHEN {value} > 0 THEN CAST({value} AS DOUBLE) END AS v"
    return _histogram(database, values, title, unit, bins, True)


def _histogram(
    database: duckdb.DuckDBPyConnection, values: str, title: str, unit: str, bins: int, logarithmic: bool
) -> Histogram | None:
    finite = f"FROM ({values}) WHERE isfinite(v)"
    measures = "count(v), min(v), avg(v), max(v), approx_quantile(v, 0.5)"
    [(total, minimum, mean, maximum, median)] = database.execute(f"SELECT {measures} {finite}").fetchall()
    if not total:
        return None
    edges: tuple[float, ...]
    if minimum == maximum:
        edges, counts = (minimum - 0.5, maximum + 0.5), [total]
    else:
        fraction = "ln(v / $low) / ln($high / $low)" if logarithmic else "(v - $low) / ($high - $low)"
        rows = database.execute(
            f"SELECT CAST(least($bins - 1, floor($bins * {fraction})) AS INTEGER), count(*) {finite} GROUP BY 1",
            {"low": minimum, "high": maximum, "bins": bins},
        ).fetchall()
        found = dict(rows)
        counts = [found.get(number, 0) for number in range(bins)]
        edges = tuple(_edge(minimum, maximum, number / bins, logarithmic) for number in range(bins + 1))
    return Histogram(title, unit, edges, tuple(counts), median, total, minimum, mean, maximum)


def _edge(low: float, high: float, fraction: float, logarithmic: bool) -> float:
    return low * math.pow(high / low, fraction) if logarithmic else low + (high - low) * fraction
