"""What a dataset says about itself and about its plans, checked: dataset.json, and every plan against its record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from x2i.errors import RunError, UserError
from x2i.store import paths
from x2i.store.dataset import Dataset
from x2i.store.files.atomic import read_table
from x2i.store.files.remote import file_sizes
from x2i.store.plans import Plan, table_digest
from x2i.store.verify.checks import Finding


def check_dataset_json(root: Path) -> Iterator[Finding]:
    """Names a dataset.json that is missing, cannot be read or is of another version."""
    try:
        Dataset.open(root)
    except UserError as error:
        document = json.dumps({"config": {}, "format_version": paths.FORMAT_VERSION, "name": root.name})
        problem = str(error).removeprefix(f"{root / paths.DATASET_FILE}: ").removeprefix(f"{root}: ")
        yield Finding(paths.DATASET_FILE, problem, f"write it again, for example as {document}")


def check_plans(root: Path, plans: Mapping[str, Plan | RunError], read: bool) -> Iterator[Finding]:
    """Names plan records that cannot be read, and plan files that are missing or not what their record says.

    A stage without a record is being planned, or was stopped while it was: its next run plans it. plans: of
    `read_plans`. read: compare the planned rows with the record too, not only the sizes of their files.
    """
    for stage, plan in plans.items():
        record = paths.plan_record(root, stage).relative_to(root).as_posix()
        fix = f"delete {record} and run the same {stage} command again: "
        fix += "it plans anew, and keeps what is committed from an equal plan"
        for file, problem in _problems(root, stage, plan, read):
            yield Finding(file.relative_to(root).as_posix(), problem, fix)


def _problems(root: Path, stage: str, plan: Plan | RunError, read: bool) -> Iterator[tuple[Path, str]]:
    if isinstance(plan, RunError):
        record = paths.plan_record(root, stage)
        yield record, str(plan).removeprefix(f"{record}: ")
        return
    sizes = file_sizes(root / "plans" / stage)
    for entry in plan.entries:
        file = paths.plan_file(root, stage, entry.id)
        if file.name not in sizes:
            yield file, "is missing"
        elif entry.size is not None and sizes[file.name] != entry.size:
            yield file, f"has {sizes[file.name]} bytes, planned were {entry.size}"
        elif read and not _holds(file, entry.plan):
            yield file, "does not hold what was planned"
    sightings = paths.sightings_file(root, stage)
    if read and sightings.exists() and not _holds(sightings, None):
        yield sightings, "cannot be read"


def _holds(file: Path, digest: str | None) -> bool:
    """Whether the rows of a Parquet file have `digest`; with None, whether they can be read."""
    try:
        rows = read_table(file)
    except (OSError, pa.ArrowException):
        return False
    return digest is None or table_digest(rows) == digest
