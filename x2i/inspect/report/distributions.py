"""How the numbers of a dataset are spread: resolutions, aspect ratios, and every score that a column holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.inspect.histograms import Histogram, linear_histogram
from x2i.store import Dataset, paths
from x2i.store.files.cache import local_copy
from x2i.store.scratch_database import scratch_database

if TYPE_CHECKING:
    import duckdb

PAIR_SCORES = ("inliers", "inlier_ratio", "area_ratio", "phash_distance")


def read_distributions(dataset: Dataset) -> list[Histogram]:
    """Returns the histograms of the stored images' sizes, then of every numeric field of columns and relations."""
    with scratch_database() as database:
        found = [*_sizes(database, dataset), *_column_scores(database, dataset), *_pair_scores(database, dataset)]
    return [entry for entry in found if entry is not None]


def _sizes(database: duckdb.DuckDBPyConnection, dataset: Dataset) -> Iterator[Histogram | None]:
    files = [local_copy(paths.image_index(dataset.root, commit.partition)) for commit in dataset.image_commits()]
    if files:
        database.read_parquet([str(file) for file in files]).filter("status = 'ok'").create_view("kept")
        yield linear_histogram(database, "kept", "greatest(width, height)", "longest side", "pixels")
        yield linear_histogram(database, "kept", "width / height", "aspect ratio", "width / height")


def _column_scores(database: duckdb.DuckDBPyConnection, dataset: Dataset) -> Iterator[Histogram | None]:
    """Yields one histogram for every floating-point field of every column; what `_sizes` shows is not shown again."""
    for folder in sorted((dataset.root / "columns").glob("*/")):
        files = [local_copy(path) for path in sorted(folder.glob(f"*{paths.INDEX_SUFFIX}"))]
        if not files:
            continue
        database.read_parquet([str(file) for file in files]).create_view("scores", replace=True)
        for field in pq.read_schema(files[0]):
            if pa.types.is_floating(field.type) and field.name != "aspect_ratio":
                title = f"{folder.name}: {field.name}".replace("_", " ")
                yield linear_histogram(database, "scores", f'"{field.name}"', title)


def _pair_scores(database: duckdb.DuckDBPyConnection, dataset: Dataset) -> Iterator[Histogram | None]:
    path = paths.relation_file(dataset.root, "subject_pairs")
    if path.exists():
        pairs = database.read_parquet(str(local_copy(path)))
        pairs.create_view("pairs")
        for name in PAIR_SCORES:
            if name in pairs.columns:
                yield linear_histogram(database, "pairs", name, f"subject pairs: {name.replace('_', ' ')}")
