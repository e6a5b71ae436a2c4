"""Holds everything on disk against its record: sums, members, indexes, pixels, counts, and files nobody owns.

Memory: the commit index, and 8 bytes for each training sample (a hash of its key, to find keys that stand twice).
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from x2i.errors import RunError, UserError
from x2i.store import paths as names
from x2i.store.files.atomic import read_table
from x2i.store.files.remote import dataset_path
from x2i.store.outdated import Outdated, outdated_stages
from x2i.store.plans import Plan, read_plans
from x2i.store.tombstones import FOLDER, Tombstones
from x2i.store.verify.check_plans import check_dataset_json, check_plans
from x2i.store.verify.check_tables import check_table
from x2i.store.verify.checks import (
    FileCheck,
    Finding,
    check_image_partition,
    check_shard,
    hash_keys,
    output_problem,
)
from x2i.store.verify.commit_index import CommitIndex, orphans, read_commit_index, unfinished, with_fixes, wrong_counts
from x2i.store.verify.scan import looks_like_samples, scan_shard

OnFile = Callable[[str, int, int], None]
Job = Callable[[], FileCheck]


class Level(StrEnum):
    """How closely to look.

    fast: every committed file's size and sum, and files nobody owns. normal: also tars, indexes, tables, lineage and
    counts against each other. deep: also every image is decoded, and its size and phash compared.
    """

    FAST = "fast"
    NORMAL = "normal"
    DEEP = "deep"


@dataclass(frozen=True)
class VerifyReport:
    """What was wrong, what could not be checked for want of a record, and how much was looked at.

    outdated: stages with results of inputs that have changed since; they are whole, so these are no findings.
    """

    root: Path
    level: Level
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()
    outdated: tuple[Outdated, ...] = ()
    files: int = 0
    samples: int = 0
    images_decoded: int = 0
    bytes: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        return {
            "root": str(self.root),
            "ok": self.ok,
            "level": str(self.level),
            "findings": [vars(finding) for finding in self.findings],
            "unchecked": list(self.unchecked),
            "outdated": [vars(stage) for stage in self.outdated],
            "files": self.files,
            "samples": self.samples,
            "images_decoded": self.images_decoded,
            "bytes": self.bytes,
        }


def verify(
    root: str | Path,
    level: Level = Level.NORMAL,
    paths: Iterable[str | Path] | None = None,
    on_file: OnFile | None = None,
) -> VerifyReport:
    """Checks a dataset folder, a folder of foreign shards, or one tar.

    paths: check these files only (absolute or relative to `root`); files nobody owns are then not looked for.
    on_file(file, done, total) is called after each file.
    Raises UserError if `root` does not exist or holds nothing that can be checked.
    """
    root = dataset_path(root)
    if not root.exists():
        raise UserError(f"{root}: no such file or folder; expected a dataset, a folder of shards or a .tar")
    base = root if root.is_dir() else root.parent
    is_dataset = root.is_dir() and ((base / names.DATASET_FILE).exists() or (base / "commits").is_dir())
    index = read_commit_index(base) if is_dataset else CommitIndex()
    wanted = None if paths is None else {_named(base, Path(path)) for path in paths}
    contents = [] if is_dataset and level is Level.FAST else _contents(root, base, is_dataset, wanted)
    files = sorted({*contents, *(output for output in index.owners if _is_wanted(output, wanted))})
    if not files and not is_dataset:
        raise UserError(f"{root}: no .tar found; expected a dataset, a folder of shards or a .tar")
    tombstones, findings = _tombstones(base) if is_dataset else (Tombstones(), [])
    to_read = frozenset(contents)
    jobs = {file: partial(_check_file, base, file, file in to_read, level, index, tombstones) for file in files}
    checks = _run(jobs, on_file)
    findings += [*index.findings, *(finding for check in checks.values() for finding in _findings(check))]
    findings += _duplicate_keys(base, checks)
    if level is not Level.FAST:
        findings += wrong_counts(index, {file: check for file, check in checks.items() if file in to_read})
    plans = read_plans(base) if is_dataset and wanted is None else {}
    if is_dataset and wanted is None:
        findings += [*check_dataset_json(base), *check_plans(base, plans, level is not Level.FAST)]
        findings += [*orphans(base, index), *unfinished(base)]
    unchecked = [note for check in checks.values() for note in check.unchecked]
    if not is_dataset:
        unchecked.append("there are no commit records here: sums, counts and missing files could not be checked")
    return VerifyReport(
        root,
        level,
        tuple(with_fixes(base, findings, index)),
        tuple(unchecked),
        tuple(_outdated(base, plans)) if is_dataset and wanted is None else (),
        files=len(checks),
        samples=sum(check.counts.ok for check in checks.values() if _is_shard(check.file)),
        images_decoded=sum(check.images for check in checks.values()),
        bytes=sum(check.bytes for check in checks.values()),
    )


def _outdated(base: Path, plans: Mapping[str, Plan | RunError]) -> list[Outdated]:
    try:
        return outdated_stages(base, plans)
    except RunError:  # a damaged record, which is among the findings
        return []


def _contents(root: Path, base: Path, is_dataset: bool, wanted: set[str] | None) -> list[str]:
    """Returns what can be read, relative to `base`: tars, and in a dataset the Parquet files without a tar."""
    if not root.is_dir():
        return [root.name]
    if is_dataset:
        tars = [*base.glob("images/*.tar"), *base.glob("shards/*.tar")]
        tables = [*base.glob("columns/*/*.parquet"), *base.glob("relations/*.parquet")]
    else:
        tars, tables = list(base.rglob("*.tar")), []
    found = sorted(path.relative_to(base).as_posix() for path in [*tars, *tables])
    return [file for file in found if _is_wanted(file, wanted)]


def _check_file(
    base: Path, file: str, read: bool, level: Level, index: CommitIndex, tombstones: Tombstones
) -> FileCheck:
    """Checks one file: its sum if a commit owns it, and what it holds if it is to be read."""
    path = base / file
    entry = index.owners.get(file)
    problem = output_problem(base, file, entry.outputs[file]) if entry else ""
    if path.is_symlink() or not path.is_file():
        return FileCheck(file, [Finding(file, problem or "is a link or a special file, expected a plain file")])
    check = _read(path, file, level, index, tombstones) if read else FileCheck(file, bytes=path.stat().st_size)
    if problem:
        check.findings.insert(0, Finding(file, problem))
    return check


def _read(path: Path, file: str, level: Level, index: CommitIndex, tombstones: Tombstones) -> FileCheck:
    deep = level is Level.DEEP
    if path.suffix == names.INDEX_SUFFIX:
        if not file.startswith("columns/"):
            return check_table(path, file, deep)
        tar = f"images/{path.stem}{names.SHARD_SUFFIX}"
        return check_table(path, file, deep, names.image_index(path.parents[2], path.stem), tar in index.owners)
    is_image_store = file.startswith("images/") or (path.parent.name == "images" and not looks_like_samples(path))
    return (check_image_partition if is_image_store else check_shard)(path, file, deep, tombstones)


def _run(jobs: Mapping[str, Job], on_file: OnFile | None) -> dict[str, FileCheck]:
    """Runs the checks side by side (decoding and hashing leave the interpreter lock); results in the jobs' order."""
    checks: dict[str, FileCheck] = {}
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[tuple[str, Future[FileCheck]]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:

        def collect() -> None:
            file, future = waiting.popleft()
            checks[file] = future.result()
            if on_file is not None:
                on_file(file, len(checks), len(jobs))

        for file, job in jobs.items():
            waiting.append((file, pool.submit(job)))
            if len(waiting) > 4 * workers:
                collect()
        while waiting:
            collect()
    return checks


def _findings(check: FileCheck) -> Iterator[Finding]:
    yield from check.findings
    if check.more:
        yield Finding(check.file, f"and {check.more} more problems in this file")


def _tombstones(root: Path) -> tuple[Tombstones, list[Finding]]:
    try:
        return Tombstones.load(root), []
    except UserError as error:
        return Tombstones(), [Finding(FOLDER, str(error).removeprefix(f"{root}/{FOLDER}/"), "restore the record")]


def _duplicate_keys(base: Path, checks: Mapping[str, FileCheck]) -> Iterator[Finding]:
    """Names keys that stand in two shards, or in two partitions of the image store."""
    for shards in (True, False):
        files = [c for c in checks.values() if len(c.key_hashes) and _is_shard(c.file) == shards]
        if len(files) < 2 and shards:
            continue
        hashes = np.concatenate([np.unique(check.key_hashes) for check in files] or [hash_keys(())])
        values, counts = np.unique(hashes, return_counts=True)
        doubled = values[counts > 1]
        homes: dict[str, list[str]] = {}
        for check in files if len(doubled) else ():
            if np.isin(check.key_hashes, doubled).any():
                for key in sorted(set(_keys(base / check.file, shards))):
                    if np.isin(hash_keys([key]), doubled)[0]:
                        homes.setdefault(key, []).append(check.file)
        clashes = Counter(tuple(where) for where in homes.values() if len(where) > 1)
        for where, count in clashes.items():
            example = next(key for key, at in homes.items() if tuple(at) == where)
            fix = "keys must be unique in a dataset: make one of the files again, or leave it out"
            problem = f"duplicate keys: {count} also stand in {', '.join(where[:-1])}, for example {example!r}"
            yield Finding(where[-1], problem, fix)


def _keys(tar: Path, is_shard: bool) -> list[str]:
    """Returns the keys that a tar's check hashed, read once more."""
    if is_shard:
        return [row["key"] for row in scan_shard(tar).rows]
    keys: list[str] = read_table(tar.with_suffix(names.INDEX_SUFFIX), ["key"])["key"].to_pylist()
    return keys


def _is_shard(file: str) -> bool:
    return file.endswith(names.SHARD_SUFFIX) and not file.startswith("images/")


def _is_wanted(file: str, wanted: set[str] | None) -> bool:
    if wanted is None or file in wanted:
        return True
    return file.endswith(names.INDEX_SUFFIX) and f"{file.removesuffix(names.INDEX_SUFFIX)}.tar" in wanted


def _named(base: Path, path: Path) -> str:
    """Returns a caller's path, absolute or relative to `base` or to the working folder, as seen from `base`."""
    if path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    if path.is_absolute() and path.resolve().is_relative_to(base.resolve()):
        return path.resolve().relative_to(base.resolve()).as_posix()
    return path.as_posix()
