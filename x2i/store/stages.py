"""The stages of a dataset and what each of them makes, read from where their outputs lie.

A stage makes images (images/), a column (columns/<name>/), a relation (relations/<name>.parquet) or shards (shards/).
The stage of a column or relation is called like the table it writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.store import paths
from x2i.store.commits import Counts, list_commits, list_stages, read_commit
from x2i.store.files.cache import local_copy
from x2i.store.files.remote import list_files
from x2i.tables import TableSpec

Kind = Literal["images", "column", "relation", "shards"]
KINDS: dict[str, Kind] = {"images": "images", "columns": "column", "relations": "relation", "shards": "shards"}
"""Folder of outputs -> what the stage makes, in the order in which a dataset is built."""


@dataclass(frozen=True)
class StageInfo:
    """A stage that has committed something. spec: the declaration of the table it writes, if it writes a declared one.

    counts: what became of the rows of all its committed partitions.
    """

    name: str
    kind: Kind
    spec: TableSpec | None
    counts: Counts


def command_of(stage: str, spec: TableSpec | None) -> str:
    """Returns the command that runs a stage, without `x2i`: one without a table is called <command>[-<detail>]."""
    if spec is None:
        return stage.split("-")[0]
    of_several = {"annotate": f"annotate {spec.name}", "filter": f"filter --score {spec.name}"}
    column = f" --column {stage}" if spec.kind == "column" and stage != spec.name else ""
    return of_several.get(spec.made_by, spec.made_by) + column


def kind_of(outputs: Iterable[str]) -> Kind:
    """Returns what a partition with these outputs (paths in the dataset) is of; without any, it is of shards.

    Only a partition of shards may come to nothing: the other kinds write a table of no rows.
    """
    folders = {output.split("/")[0] for output in outputs}
    return next((kind for folder, kind in KINDS.items() if folder in folders), "shards")


def table_of(output: str) -> str | None:
    """Returns the column or relation that an output (a path in the dataset) belongs to, None if it is of neither."""
    path = PurePosixPath(output)
    if path.suffix != paths.INDEX_SUFFIX:
        return None
    return {"columns": path.parent.name, "relations": path.stem}.get(path.parts[0])


def read_spec(root: Path, outputs: Iterable[str]) -> TableSpec | None:
    """Returns the declaration in the first readable table among `outputs` that has one, None if none has."""
    for output in outputs:
        if table_of(output) is not None and (root / output).exists():
            try:
                spec = TableSpec.read(local_copy(root / output))
            except (OSError, UnicodeDecodeError, pa.ArrowException):  # damaged: `x2i verify` says so
                continue
            if spec is not None:
                return spec
    return None


def committed_stages(root: Path) -> list[StageInfo]:
    """Returns the stages with commits: those of images first, then of columns, relations and shards, each by name."""
    kinds, ingest = list(KINDS.values()), ingest_stages(root)
    stages = [stage_info(root, name) for name in list_stages(root) if _first_commit(root, name)]
    written = {name: number for number, name in enumerate(ingest)}
    return sorted(stages, key=lambda stage: (kinds.index(stage.kind), written.get(stage.name, 0), stage.name))


def stage_info(root: Path, name: str) -> StageInfo:
    """Returns what the commits of a stage say about it."""
    commits = list(list_commits(root, name))
    outputs = [output for commit in commits for output in commit.outputs]
    counts = sum((commit.counts for commit in commits), Counts())
    return StageInfo(name, kind_of(outputs), read_spec(root, outputs), counts)


def ingest_stages(root: Path) -> list[str]:
    """Returns the stages that planned or committed images, in the order of the partitions that they write."""
    names = {path.name for folder in ("plans", "commits") for path in (root / folder).glob("*") if path.is_dir()}
    first = {name: partition for name in names if (partition := _first_image_partition(root, name)) is not None}
    return sorted(first, key=lambda name: (len(first[name]), first[name], name))


def _first_image_partition(root: Path, stage: str) -> str | None:
    """Returns the first partition of a stage that writes images, None if the stage writes none."""
    commit, plan = _first_commit(root, stage), _first_plan(root, stage)
    if commit is not None:
        found = read_commit(root, stage, commit.stem)
        makes_images = found is not None and kind_of(found.outputs) == "images"
    else:
        makes_images = plan is not None and plans_images(pq.read_schema(local_copy(plan)).names)
    return min(path.stem for path in (commit, plan) if path is not None) if makes_images else None


def plans_images(fields: Iterable[str]) -> bool:
    """Whether planned rows with these fields are of images to come: they have sources, and no place in the store."""
    return {"key", "uid", "url"} <= set(fields) and "data_offset" not in fields


def _first_commit(root: Path, stage: str) -> Path | None:
    return next(iter(list_files(root / "commits" / stage, ".json")), None)


def _first_plan(root: Path, stage: str) -> Path | None:
    return next(iter(list_files(root / "plans" / stage, paths.INDEX_SUFFIX)), None)
