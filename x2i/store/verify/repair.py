"""Repairs what `verify` found, where nothing that cannot be made again is lost; everything else stays as it is."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from x2i.store import paths
from x2i.store.files.atomic import TEMPORARY_MARK, write_table
from x2i.store.shards import SHARD_SCHEMA
from x2i.store.stages import command_of, kind_of, read_spec
from x2i.store.verify.checks import output_problem
from x2i.store.verify.commit_index import CommitEntry, CommitIndex, read_commit_index
from x2i.store.verify.scan import scan_shard
from x2i.store.verify.verify import VerifyReport

OURS = re.compile(
    r"images/\d{5,}\.(?:tar|parquet)|columns/\w+/\d{5,}\.parquet|relations/\w+\.parquet"
    r"|shards/\w+-\d+in-\d{5,}\.(?:tar|parquet)"
)
"""Names that stages give to files. One of another name in a dataset's folder is somebody's own, and is left alone."""


class Action(StrEnum):
    """rebuild: an index is made again from its shard. withdraw: a partition's outputs and its commit are deleted, so
    that the command that made it makes it again. delete: a file that no commit owns. none: left as it is.
    """

    REBUILD = "rebuild"
    WITHDRAW = "withdraw"
    DELETE = "delete"
    NONE = "none"


@dataclass(frozen=True)
class Repair:
    """One repair. files: relative to the dataset. why: for people. then: the command to run afterwards, "" for none."""

    action: Action
    files: tuple[str, ...]
    why: str
    then: str = ""


def plan_repairs(report: VerifyReport) -> list[Repair]:
    """Returns what to do about the findings of a dataset, in the order in which it is to be done.

    Images are never deleted: a damaged partition of the image store, or its commit, is for people to decide about,
    since what it holds may not be found again.
    """
    root, index = report.root, read_commit_index(report.root)
    repairs: dict[tuple[str, ...], Repair] = {}
    for finding in report.findings:
        repair = _repair_of(root, finding.file, finding.problem, finding.fix, index)
        repairs.setdefault(repair.files, repair)
    order = list(Action)
    withdrawn = {file for one in repairs.values() if one.action is Action.WITHDRAW for file in one.files}
    kept = [one for one in repairs.values() if one.action is Action.WITHDRAW or not withdrawn & set(one.files)]
    return sorted(kept, key=lambda one: order.index(one.action))


def repair(root: Path, repairs: list[Repair]) -> None:
    """Does what `plan_repairs` returned. Commits go first, so that a partition counts as undone whatever happens."""
    for one in repairs:
        if one.action is Action.REBUILD:
            [file] = one.files
            write_table(root / file, _index_of(root / file))
        elif one.action in (Action.WITHDRAW, Action.DELETE):
            for file in one.files:
                (root / file).unlink(missing_ok=True)


def _repair_of(root: Path, file: str, problem: str, fix: str, index: CommitIndex) -> Repair:
    if TEMPORARY_MARK in Path(file).name:
        return Repair(Action.DELETE, (file,), problem)
    entry = index.owners.get(file) or next((one for one in index.all if one.record == file), None)
    if entry is None:
        return _without_owner(root, file, problem, fix, index)
    if kind_of(entry.outputs) == "images":
        return Repair(Action.NONE, (file,), f"{problem}; images are kept: {fix}")
    if file.startswith("shards/") and file.endswith(paths.INDEX_SUFFIX) and _can_rebuild(root, file, entry):
        return Repair(Action.REBUILD, (file,), problem)
    stage = [output for one in index.all if one.stage == entry.stage for output in one.outputs]
    command = f"x2i {command_of(entry.stage, read_spec(root, stage))}"
    return Repair(Action.WITHDRAW, (entry.record, *sorted(entry.outputs)), problem, command)


def _without_owner(root: Path, file: str, problem: str, fix: str, index: CommitIndex) -> Repair:
    """A file that no readable commit owns: left by a run that was stopped, or its commit is damaged."""
    partition = Path(file).stem
    of_images = [f"images/{partition}{suffix}" for suffix in (paths.SHARD_SUFFIX, paths.INDEX_SUFFIX)]
    if file.startswith("commits/"):
        if any((root / one).exists() and one not in index.owners for one in of_images):
            return Repair(Action.NONE, (file,), f"{problem}; it may be of images, which are kept: {fix}")
        stage = file.split("/")[1]
        tables = [f"columns/{stage}/{partition}{paths.INDEX_SUFFIX}", f"relations/{stage}{paths.INDEX_SUFFIX}"]
        return Repair(Action.WITHDRAW, (file,), problem, f"x2i {command_of(stage, read_spec(root, tables))}")
    damaged = {Path(finding.file).stem for finding in index.findings if finding.file.startswith("commits/")}
    if file in of_images and partition in damaged:
        return Repair(Action.NONE, (file,), f"its commit is damaged, and images are kept: {fix}")
    if OURS.fullmatch(file):
        return Repair(Action.DELETE, (file,), problem)
    return Repair(Action.NONE, (file,), f"{problem}; {fix}")


def _can_rebuild(root: Path, file: str, entry: CommitEntry) -> bool:
    """Whether the index of a shard comes out of its tar as it was: the same bytes, by the commit's sum."""
    tar = file.removesuffix(paths.INDEX_SUFFIX) + paths.SHARD_SUFFIX
    if tar not in entry.outputs or output_problem(root, tar, entry.outputs[tar]):
        return False
    return _sum_of(_index_of(root / file)) == entry.outputs[file]["sha256"]


def _index_of(path: Path) -> pa.Table:
    return pa.Table.from_pylist(scan_shard(path.with_suffix(paths.SHARD_SUFFIX)).rows, schema=SHARD_SCHEMA)


def _sum_of(table: pa.Table) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.parquet"
        write_table(path, table, durable=False)
        return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(repairs: list[Repair]) -> Iterator[str]:
    """Yields a line for each repair, then the commands that make again what was withdrawn."""
    words = {
        Action.REBUILD: "index rebuilt from its shard",
        Action.WITHDRAW: "withdrawn, to be made again",
        Action.DELETE: "deleted",
        Action.NONE: "left as it is",
    }
    for one in repairs:
        yield f"{words[one.action]}: {', '.join(one.files)} ({one.why})"
    commands = dict.fromkeys(one.then for one in repairs if one.then)
    if commands:
        yield f"run again: {'; '.join(commands)}"
