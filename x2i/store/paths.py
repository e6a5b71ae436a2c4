"""Where each thing lives inside a dataset folder: the one place that knows the names."""

from __future__ import annotations

from pathlib import Path

DATASET_FILE = "dataset.json"
FORMAT_VERSION = 2
PREVIEWS = ("sheet.png", "report.html", "gallery")
"""What `x2i build` draws of a finished dataset, in its folder."""
INDEX_SUFFIX = ".parquet"
SHARD_SUFFIX = ".tar"


def partition_name(number: int) -> str:
    """Returns the name of numbered partition `number`: five digits or more."""
    return f"{number:05d}"


def image_partition(key: str) -> str:
    """Returns the partition of the image store that holds image `key`: `00003` for `00003-00017`."""
    return key.partition("-")[0]


def image_tar(root: Path, partition: str) -> Path:
    return root / "images" / f"{partition}.tar"


def image_index(root: Path, partition: str) -> Path:
    return root / "images" / f"{partition}.parquet"


def column_folder(root: Path, name: str) -> Path:
    return root / "columns" / name


def column_file(root: Path, name: str, partition: str) -> Path:
    return column_folder(root, name) / f"{partition}.parquet"


def relation_file(root: Path, name: str) -> Path:
    return root / "relations" / f"{name}.parquet"


def plan_file(root: Path, stage: str, partition: str) -> Path:
    return root / "plans" / stage / f"{partition}.parquet"


def plan_record(root: Path, stage: str) -> Path:
    return root / "plans" / f"{stage}{INDEX_SUFFIX}"


def sightings_file(root: Path, stage: str) -> Path:
    return root / "sightings" / f"{stage}.parquet"


def shard_tar(root: Path, name: str) -> Path:
    return root / "shards" / f"{name}.tar"


def shard_index(root: Path, name: str) -> Path:
    return root / "shards" / f"{name}.parquet"


def commit_file(root: Path, stage: str, partition: str) -> Path:
    return root / "commits" / stage / f"{partition}.json"


def failure_file(root: Path, stage: str, partition: str) -> Path:
    return root / "failures" / stage / f"{partition}.json"


def log_file(root: Path, stage: str) -> Path:
    return root / "logs" / f"{stage}.jsonl"
