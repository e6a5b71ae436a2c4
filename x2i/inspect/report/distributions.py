"""How the numbers of a dataset are spread: resolutions, aspect ratios, and every score that a column holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from x2i.reasons import Status
from x2i.store import Dataset, paths
from x2i.store.files.cache import local_copy

if TYPE_CHECKING:
    import numpy as np

BINS = 24


@dataclass(frozen=True)
class Histogram:
    """counts[i] values lie in [edges[i], edges[i + 1]), the last one closed. median, total: of all finite values."""

    title: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float
    total: int


def histogram(title: str, values: np.ndarray, unit: str = "", bins: int = BINS) -> Histogram | None:
    """Returns the histogram of the finite values among `values`; None if there are none."""
    import numpy as np

    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(finite, bins=bins, range=(low, high))
    spread = (tuple(float(edge) for edge in edges), tuple(int(count) for count in counts))
    return Histogram(title, unit, *spread, float(np.median(finite)), int(finite.size))


def read_distributions(dataset: Dataset) -> list[Histogram]:
    """Returns the histograms of the stored images' sizes, then of every numeric field of columns and relations."""
    found = [*_sizes(dataset), *_column_scores(dataset), *_pair_scores(dataset)]
    return [entry for entry in found if entry is not None]


def _sizes(dataset: Dataset) -> Iterator[Histogram | None]:
    table = dataset.images(["status", "width", "height"])
    kept = table.filter(pc.equal(table["status"], str(Status.OK)))
    width, height = kept["width"].to_numpy().astype(float), kept["height"].to_numpy().astype(float)
    if width.size:
        yield histogram("longest side", width.clip(min=height), "pixels")
        yield histogram("aspect ratio", width / height, "width / height")


def _column_scores(dataset: Dataset) -> Iterator[Histogram | None]:
    """Yields one histogram for every floating-point field of every column; what `_sizes` shows is not shown again."""
    for folder in sorted((dataset.root / "columns").glob("*/")):
        files = sorted(folder.glob(f"*{paths.INDEX_SUFFIX}"))
        names = [f.name for f in pq.read_schema(local_copy(files[0])) if pa.types.is_floating(f.type)] if files else []
        names = [name for name in names if name != "aspect_ratio"]
        if names:
            table = pa.concat_tables([pq.read_table(local_copy(path), columns=names) for path in files])
            for name in names:
                yield _of(f"{folder.name}: {name}", table[name])


def _pair_scores(dataset: Dataset) -> Iterator[Histogram | None]:
    path = paths.relation_file(dataset.root, "subject_pairs")
    names = ("inliers", "inlier_ratio", "area_ratio", "phash_distance")
    if path.exists():
        table = pq.read_table(local_copy(path))
        for name in names:
            if name in table.column_names:
                yield _of(f"subject pairs: {name.replace('_', ' ')}", table[name])


def _of(title: str, column: pa.ChunkedArray) -> Histogram | None:
    import numpy as np

    return histogram(title.replace("_", " "), np.asarray(column.drop_null().to_numpy(), dtype=np.float64))
