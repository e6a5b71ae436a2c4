"""The plans of stages on disk: the planned rows of each partition, and the record that lists the partitions.

The rows of a partition are plans/<stage>/<partition>.parquet. The record, plans/<stage>.parquet, is written last and
makes the plan valid: one row per partition, and, as JSON in the file's metadata, what the plan was made from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from x2i.errors import RunError
from x2i.sample import canonical_json
from x2i.store import paths
from x2i.store.commits import fingerprint
from x2i.store.files.atomic import atomic_file, read_table
from x2i.store.files.cache import local_copy
from x2i.store.files.remote import file_sizes, list_files

RECORD_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "rows": pa.int64(),
        "plan": pa.string(),
        "size": pa.int64(),
        "config": pa.string(),  # JSON, as is `inputs`
        "inputs": pa.string(),
    }
)
_HEAD = b"x2i_plan"
_HEAD_FIELDS = ("stage", "format_version", "config", "inputs", "counts")


@dataclass(frozen=True)
class PlanEntry:
    """One planned partition as the plan record keeps it.

    plan: the digest of its rows; rows: their number; size: of its file, in bytes (None: not written).
    config, inputs: as in `Commit`.
    """

    id: str
    rows: int
    plan: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    size: int | None = None


@dataclass(frozen=True)
class Plan:
    """A stage's plan: what it was made from, its partitions in order, and the stage's counts of rows not planned."""

    stage: str
    format_version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    entries: tuple[PlanEntry, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    def fingerprint(self, entry: PlanEntry) -> str:
        return fingerprint(self.stage, self.format_version, entry.config, entry.inputs, entry.plan)


def table_digest(rows: pa.Table) -> str:
    """Returns a digest of a table's values that does not depend on chunking, file format or library version."""
    digest = hashlib.sha256()
    for name in rows.column_names:
        column = rows[name]
        kind = re.sub(r"<\w+: ", "<item: ", str(column.type))  # Parquet gives the items of lists another name
        digest.update(f"{name}:{kind}:{len(column)}:".encode())
        if pa.types.is_string(column.type):
            nulls = column.null_count
            digest.update(pc.is_null(column).to_numpy().tobytes() if nulls else bytes(len(column)))
            filled = pc.fill_null(column, "") if nulls else column
            digest.update(pc.binary_length(filled).to_numpy().astype("<i8").tobytes())
            for chunk in filled.chunks:
                digest.update(_characters(chunk))
        else:
            digest.update(canonical_json(column.to_pylist()).encode())
    return digest.hexdigest()


def _characters(chunk: pa.StringArray) -> memoryview | bytes:
    """Returns the UTF-8 of all strings of an array without nulls, one after the other, without copying it."""
    _, offsets, data = chunk.buffers()
    if data is None or not len(chunk):
        return b""
    bounds = memoryview(offsets).cast("i")
    return memoryview(data)[bounds[chunk.offset] : bounds[chunk.offset + len(chunk)]]


def planned_stages(root: Path) -> list[str]:
    """Returns the names of the stages that have a plan record."""
    return [path.name.removesuffix(paths.INDEX_SUFFIX) for path in list_files(root / "plans", paths.INDEX_SUFFIX)]


def read_plan(root: Path, stage: str) -> Plan | None:
    """Returns the plan of `stage`, or None if it was never planned to the end.

    Raises RunError if the record is damaged.
    """
    path = paths.plan_record(root, stage)
    if not path.exists():
        return None
    try:
        with pq.ParquetFile(local_copy(path)) as file:
            head = json.loads(file.metadata.metadata[_HEAD])
            rows = file.read(RECORD_SCHEMA.names).to_pylist()
        parsed = {text: json.loads(text) for text in {row[name] for row in rows for name in ("config", "inputs")}}
        entries = [
            PlanEntry(**{**row, "config": parsed[row["config"]], "inputs": parsed[row["inputs"]]}) for row in rows
        ]
        return Plan(**{name: head[name] for name in _HEAD_FIELDS}, entries=tuple(entries))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        remedy = "delete it and run the stage again; what is done stays done"
        raise RunError(f"{path}: damaged plan record ({error!r}): {remedy}") from error


def read_plans(root: Path) -> dict[str, Plan | RunError]:
    """Returns the plan of every planned stage by its name; for a damaged record, the error that `read_plan` raises."""
    plans: dict[str, Plan | RunError] = {}
    for stage in planned_stages(root):
        try:
            plan = read_plan(root, stage)
        except RunError as error:
            plans[stage] = error
        else:
            plans |= {stage: plan} if plan is not None else {}
    return plans


def write_plan_record(root: Path, plan: Plan) -> None:
    """Writes the record of a plan whose rows are on disk: from then on the plan is valid."""
    head = {name: getattr(plan, name) for name in _HEAD_FIELDS}
    rows = [
        {**vars(entry), "config": canonical_json(dict(entry.config)), "inputs": canonical_json(dict(entry.inputs))}
        for entry in plan.entries
    ]
    with (
        atomic_file(paths.plan_record(root, plan.stage)) as stream,
        pq.ParquetWriter(stream, RECORD_SCHEMA, compression="zstd", version="2.6", store_schema=False) as writer,
    ):
        writer.write_table(pa.Table.from_pylist(rows, RECORD_SCHEMA))
        writer.add_key_value_metadata({_HEAD: canonical_json(head)})


def read_planned(root: Path, stage: str, entry: PlanEntry) -> pa.Table:
    """Returns the planned rows of a partition.

    Raises ValueError if its file does not hold what was planned; it is deleted, so that the next run plans anew.
    """
    path = paths.plan_file(root, stage, entry.id)
    rows = _planned_rows(path, entry)
    if rows is None:
        path.unlink(missing_ok=True)
        raise ValueError(f"{path.name}: the planned rows were damaged on disk; the same command plans them again")
    return rows


def is_plan_whole(root: Path, plan: Plan, entries: Sequence[PlanEntry]) -> bool:
    """Whether the files of `entries` exist, with the recorded sizes or else with the recorded digests.

    The rows of a file of the recorded size are checked when they are read (`read_planned`).
    """
    if not entries:
        return True
    sizes = file_sizes(root / "plans" / plan.stage)
    for entry in entries:
        path = paths.plan_file(root, plan.stage, entry.id)
        size = sizes.get(path.name)
        if size is None or (size != entry.size and _planned_rows(path, entry) is None):
            return False
    return True


def normalized(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `document` as JSON gives it back, so that a tuple in code equals a list on disk."""
    return dict(json.loads(canonical_json(dict(document))))


def _planned_rows(path: Path, entry: PlanEntry) -> pa.Table | None:
    """Returns the rows in a plan file; None if it cannot be read or holds other rows than planned."""
    try:
        rows = read_table(path)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException):
        return None
    return rows if table_digest(rows) == entry.plan else None
