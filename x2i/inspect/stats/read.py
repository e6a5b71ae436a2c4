"""The numbers of datasets and shards, computed by DuckDB from the indexes of the images and of the shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.errors import UserError
from x2i.inspect.histograms import Histogram, logarithmic_histogram
from x2i.inspect.stats.group_sums import Ranking, rank_groups
from x2i.inspect.target import Kind, Target
from x2i.reasons import Status
from x2i.store import paths
from x2i.store.commits import list_commits
from x2i.store.files.cache import local_copy
from x2i.store.reshard import shard_batches
from x2i.store.scratch_database import scratch_database
from x2i.store.shards import Shard
from x2i.store.stages import ingest_stages

if TYPE_CHECKING:
    import duckdb

IMAGE_FIELDS = ("host", "format", "license", "status", "reason", "opt_out", "http_status")
SAMPLE_FIELDS = ("task", "num_inputs", "recipe", "image_format", "shard")
IMAGE_COLUMNS = (
    *("status", "reason", "host", "license", "format", "opt_out", "http_status", "text"),
    *("bytes", "data_size", "width", "height", "original_width", "original_height"),
)
IMAGE_MEASURES = {
    "images": "1",
    "kept": "(status = 'ok')::INT",
    "filtered": "(status = 'filtered')::INT",
    "failed": "(status = 'failed')::INT",
    "bytes": "CASE WHEN status = 'ok' THEN data_size ELSE 0 END",
    "megapixels": "CASE WHEN status = 'ok' THEN width::BIGINT * height ELSE 0 END / 1e6",
}
SAMPLE_MEASURES = {
    "samples": "1",
    "images": "images",
    "bytes": "image_bytes + json_size",
    "megapixels": "pixels / 1e6",
    "instruction_bytes": "instruction_bytes",
}
IMAGE_HISTOGRAMS = (  # table, value, title, unit
    ("kept", "greatest(original_width, original_height)", "longest side before", "pixels as fetched"),
    ("kept", "greatest(width, height)", "longest side", "pixels as stored"),
    ("kept", "least(width, height)", "shortest side", "pixels as stored"),
    ("kept", "width / height", "aspect ratio", "width / height"),
    ("kept", "bytes", "bytes before", "a file, as fetched"),
    ("kept", "data_size", "bytes", "a file, as stored"),
    ("images", "length(text)", "words, as crawled", "characters"),
    ("captions", "length(caption)", "caption", "characters"),
)
SAMPLE_HISTOGRAMS = (
    ("inputs", "greatest(side[1], side[2])", "input images", "longest side, pixels"),
    ("outputs", "greatest(side[1], side[2])", "output images", "longest side, pixels"),
    ("outputs", "side[1] / side[2]", "aspect ratio of outputs", "width / height"),
    ("samples", "image_bytes", "bytes of a sample", "its images"),
    ("samples", "characters", "instruction", "characters"),
)
_SAMPLES = """
    SELECT shard, task, num_inputs, recipe, split_part(image_names[-1], '.', -1) AS image_format, image_sizes,
           len(image_sizes) AS images, list_sum(image_bytes) AS image_bytes, json_size, instruction_bytes,
           list_sum([size[1]::BIGINT * size[2] FOR size IN image_sizes]) AS pixels, length(instruction) AS characters
    FROM batch"""


@dataclass(frozen=True)
class ImageStats:
    """The image store. bytes_stored: of the kept images as they lie here; bytes_fetched: as their servers sent them.

    rankings: by field (always host, format and license). histograms: of the kept images; alt texts of all attempts.
    """

    attempted: int
    kept: int
    filtered: Mapping[str, int]
    failed: Mapping[str, int]
    resized: int
    with_text: int
    bytes_fetched: int
    bytes_stored: int
    megapixels: float
    rankings: Mapping[str, Ranking]
    histograms: tuple[Histogram, ...]


@dataclass(frozen=True)
class SampleStats:
    """The training shards. bytes: of the members, without tar headers. megapixels: of all images, inputs included."""

    samples: int
    shards: int
    images: int
    bytes: int
    megapixels: float
    rankings: Mapping[str, Ranking]
    histograms: tuple[Histogram, ...]


@dataclass(frozen=True)
class Stats:
    """images, samples: None where the targets hold none."""

    names: tuple[str, ...]
    images: ImageStats | None
    samples: SampleStats | None


def read_stats(targets: Sequence[Target], by: str | None = None, top: int = 10) -> Stats:
    """Reads the numbers of all `targets` together.

    by: a further field to rank by. top: groups of each field that are named.
    Raises UserError if a target holds neither images nor samples, or nothing there has the field `by`.
    """
    names = tuple(str(target.path) for target in targets)
    for target in targets:
        if target.kind is Kind.TABLE:
            raise UserError(
                f"{target.path}: a table; expected a dataset, a folder of shards, a shard or an image partition"
            )
    indexes = [path for target in targets for path in _image_indexes(target)]
    shards = [shard for target in targets for shard in target.shards()]
    fields = (*(IMAGE_FIELDS if indexes else ()), *(SAMPLE_FIELDS if shards else ()))
    if not fields:
        raise UserError(f"{', '.join(names)}: neither images nor samples yet: run `x2i crawl` first")
    if by is not None and by not in fields:
        raise UserError(f"--by {by}: expected one of {', '.join(fields)}")
    with scratch_database() as database:
        images = samples = None
        if indexes:
            _view_parquet(database, "images", indexes, IMAGE_COLUMNS)
            columns = [files for target in targets for files in _caption_columns(target)]
            _view_parquet(database, "captions", [file for files in columns for file in files], ["caption"])
            images = _image_stats(database, by, top)
        if shards:
            for shard in shards:
                _add_samples(database, shard)
            samples = _sample_stats(database, len(shards), by, top)
    return Stats(names, images, samples)


def _image_indexes(target: Target) -> Iterator[Path]:
    if target.kind is Kind.IMAGES:
        yield target.path.with_suffix(paths.INDEX_SUFFIX)
    elif target.kind is Kind.DATASET and target.dataset is not None:
        for stage in ingest_stages(target.dataset.root):
            for commit in list_commits(target.dataset.root, stage):
                path = paths.image_index(target.dataset.root, commit.partition)
                if path.exists():
                    yield path


def _caption_columns(target: Target) -> Iterator[list[Path]]:
    """Yields the files of every column that has a field `caption`."""
    if target.kind is Kind.DATASET and target.dataset is not None:
        for folder in sorted((target.dataset.root / "columns").glob("*/")):
            files = sorted(folder.glob(f"*{paths.INDEX_SUFFIX}"))
            if files and "caption" in pq.read_schema(local_copy(files[0])).names:
                yield files


def _view_parquet(
    database: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path], columns: Sequence[str]
) -> None:
    if files:
        table = database.read_parquet([str(local_copy(path)) for path in files], union_by_name=True)
        table.select(*columns).create_view(name)


def _add_samples(database: duckdb.DuckDBPyConnection, shard: Shard) -> None:
    for table in shard_batches(shard):
        names = pa.array([shard.name] * table.num_rows, pa.string())
        database.register("batch", table.append_column("shard", names))
        database.execute(f"CREATE TABLE IF NOT EXISTS samples AS {_SAMPLES} LIMIT 0")
        database.execute(f"INSERT INTO samples {_SAMPLES}")
        database.unregister("batch")


def _image_stats(database: duckdb.DuckDBPyConnection, by: str | None, top: int) -> ImageStats:
    database.execute("CREATE VIEW kept AS FROM images WHERE status = 'ok'")
    attempted, with_text = _row(database, "SELECT count(*), count(*) FILTER (length(text) > 0) FROM images")
    kept, resized, fetched, stored, megapixels = _row(
        database,
        "SELECT count(*), count(*) FILTER (greatest(original_width, original_height) > greatest(width, height)), "
        "coalesce(sum(bytes), 0), coalesce(sum(data_size), 0), "
        "coalesce(sum(width::BIGINT * height), 0) / 1e6 FROM kept",
    )
    reasons = "SELECT status, coalesce(reason, ''), count(*) FROM images GROUP BY ALL ORDER BY ALL"
    lost = database.execute(reasons).fetchall()
    fields = {"host", "format", "license", *([by] if by in IMAGE_FIELDS else [])}
    return ImageStats(
        attempted=attempted,
        kept=kept,
        filtered={reason: count for status, reason, count in lost if status == Status.FILTERED},
        failed={reason: count for status, reason, count in lost if status == Status.FAILED},
        resized=resized,
        with_text=with_text,
        bytes_fetched=fetched,
        bytes_stored=stored,
        megapixels=megapixels,
        rankings={field: rank_groups(database, "images", field, IMAGE_MEASURES, top) for field in sorted(fields)},
        histograms=_histograms(database, IMAGE_HISTOGRAMS),
    )


def _sample_stats(database: duckdb.DuckDBPyConnection, shards: int, by: str | None, top: int) -> SampleStats:
    database.execute("CREATE VIEW inputs AS SELECT unnest(image_sizes[:-2]) AS side FROM samples")
    database.execute("CREATE VIEW outputs AS SELECT image_sizes[-1] AS side FROM samples")
    totals = ("samples", "images", "bytes", "megapixels")
    sums = ", ".join(f"coalesce(sum({SAMPLE_MEASURES[name]}), 0)" for name in totals)
    samples, images, size, megapixels = _row(database, f"SELECT {sums} FROM samples")
    fields = {"task", "num_inputs", "image_format", *([by] if by in SAMPLE_FIELDS else [])}
    most = {"task": 10**6}  # all of them: there are few, and each is worth a line
    return SampleStats(
        samples=samples,
        shards=shards,
        images=images,
        bytes=size,
        megapixels=megapixels,
        rankings={
            field: rank_groups(database, "samples", field, SAMPLE_MEASURES, most.get(field, top))
            for field in sorted(fields)
        },
        histograms=_histograms(database, SAMPLE_HISTOGRAMS),
    )


def _histograms(
    database: duckdb.DuckDBPyConnection, wanted: Sequence[tuple[str, str, str, str]]
) -> tuple[Histogram, ...]:
    there = {name for (name,) in database.execute("SELECT table_name FROM information_schema.tables").fetchall()}
    found = [logarithmic_histogram(database, *entry) for entry in wanted if entry[0] in there]
    return tuple(histogram for histogram in found if histogram is not None)


def _row(database: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return tuple(database.execute(query).fetchall()[0])
