"""Holds everything on disk against its record: sums, members, indexes, pixels, counts, and files nobody owns."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.store import paths as names
from x2i.store.atomic import TEMPORARY_MARK
from x2i.store.checks import (
    REMAKE,
    FileCheck,
    Finding,
    check_image_partition,
    check_parquet,
    check_shard,
    output_problem,
)
from x2i.store.commits import Commit, Counts, list_stages, read_commit
from x2i.store.dataset import INGEST_STAGES
from x2i.store.scan import looks_like_samples

OWNED_FOLDERS = ("images", "shards", "columns", "relations")
OnFile = Callable[[str, int, int], None]
Job = Callable[[], FileCheck]


@dataclass(frozen=True)
class VerifyReport:
    """What was wrong, what could not be checked for want of a record, and how much was looked at."""

    root: Path
    deep: bool
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()
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
            "deep": self.deep,
            "findings": [vars(finding) for finding in self.findings],
            "unchecked": list(self.unchecked),
            "files": self.files,
            "samples": self.samples,
            "images_decoded": self.images_decoded,
            "bytes": self.bytes,
        }


@dataclass
class _Ledger:
    """The readable commits of a dataset, and who owns which output."""

    commits: list[Commit] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def owners(self) -> dict[str, Commit]:
        return {output: commit for commit in self.commits for output in commit.outputs}


def verify(
    root: str | Path, deep: bool = True, paths: Iterable[str | Path] | None = None, on_file: OnFile | None = None
) -> VerifyReport:
    """Checks a dataset folder, a folder of foreign shards, or one tar.

    deep: also hash every committed output and decode every image. paths: check these files only (absolute or relative
    to `root`); files nobody owns are then not looked for. on_file(file, done, total) is called after each file.
    Raises UserError if `root` does not exist or holds nothing that can be checked.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(f"{root}: no such file or folder; expected a dataset, a folder of shards or a .tar")
    base = root if root.is_dir() else root.parent
    is_dataset = (base / names.DATASET_FILE).exists() and root.is_dir()
    ledger = _read_ledger(base) if is_dataset else _Ledger()
    wanted = None if paths is None else {_named(base, Path(path)) for path in paths}
    files = _files(root, base, is_dataset, wanted)
    committed = [
        (commit, output) for commit in ledger.commits for output in commit.outputs if _is_wanted(output, wanted)
    ]
    if not files and not committed and not is_dataset:
        raise UserError(f"{root}: no .tar found; expected a dataset, a folder of shards or a .tar")
    jobs: dict[str, Job] = {file: partial(_check_file, base / file, file, deep) for file in files}
    checks = _run(jobs, on_file)
    findings = list(ledger.findings)
    for commit, output in committed:
        problem = output_problem(base, output, commit.outputs[output], deep)
        if problem:
            findings.append(Finding(output, problem))
    findings += [finding for check in checks.values() for finding in _findings(check)]
    findings += _duplicate_keys(checks)
    findings += _wrong_counts(ledger, checks)
    if is_dataset and wanted is None:
        findings += [*_foreign_column_keys(ledger, checks), *_strays(base, ledger), *_temporaries(base)]
    unchecked = [note for check in checks.values() for note in check.unchecked]
    if not is_dataset:
        unchecked.append("there are no commit records here: sums, counts and missing files could not be checked")
    shards = [check for check in checks.values() if _is_shard(check)]
    return VerifyReport(
        root,
        deep,
        tuple(_with_remedies(findings, ledger)),
        tuple(unchecked),
        files=len(checks),
        samples=sum(check.counts.ok for check in shards),
        images_decoded=sum(check.images for check in checks.values()),
        bytes=sum(check.bytes for check in checks.values()),
    )


def _files(root: Path, base: Path, is_dataset: bool, wanted: set[str] | None) -> list[str]:
    """Returns what can be checked, relative to `base`: tars, and in a dataset the Parquet files without a tar."""
    if root.is_file():
        return [root.name]
    if is_dataset:
        tars = [*base.glob("images/*.tar"), *base.glob("shards/*.tar")]
        tables = [*base.glob("columns/*/*.parquet"), *base.glob("relations/*.parquet")]
    else:
        tars, tables = list(base.rglob("*.tar")), []
    found = sorted(_relative(base, path) for path in [*tars, *tables])
    return [file for file in found if _is_wanted(file, wanted)]


def _check_file(path: Path, file: str, deep: bool) -> FileCheck:
    if path.is_symlink() or not path.is_file():
        return FileCheck(file, [Finding(file, "is a link or a special file, expected a plain file")])
    if path.suffix == names.INDEX_SUFFIX:
        return check_parquet(path, file)
    is_image_store = file.startswith("images/") or (path.parent.name == "images" and not looks_like_samples(path))
    return check_image_partition(path, file, deep) if is_image_store else check_shard(path, file, deep)


def _run(jobs: dict[str, Job], on_file: OnFile | None) -> dict[str, FileCheck]:
    """Runs the checks side by side (decoding and hashing leave the interpreter lock); results in the jobs' order."""
    checks: dict[str, FileCheck] = {}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for file, check in zip(jobs, pool.map(lambda job: job(), jobs.values())):
            checks[file] = check
            if on_file is not None:
                on_file(file, len(checks), len(jobs))
    return checks


def _findings(check: FileCheck) -> Iterator[Finding]:
    yield from check.findings
    if check.more:
        yield Finding(check.file, f"and {check.more} more problems in this file")


def _read_ledger(root: Path) -> _Ledger:
    ledger = _Ledger()
    for stage in list_stages(root):
        for path in sorted((root / "commits" / stage).glob("*.json")):
            try:
                commit = read_commit(root, stage, path.stem)
            except UserError as error:
                problem = str(error).removeprefix(f"{path}: ")
                ledger.findings.append(Finding(_relative(root, path), problem, "delete it and run the stage again"))
                continue
            if commit is not None:
                ledger.commits.append(commit)
    claimed = Counter(output for commit in ledger.commits for output in commit.outputs)
    ledger.findings += [
        Finding(output, f"{count} commit records claim this file") for output, count in claimed.items() if count > 1
    ]
    return ledger


def _duplicate_keys(checks: dict[str, FileCheck]) -> Iterator[Finding]:
    """Names keys that stand in two shards, or in two partitions of the image store."""
    for folder_is_shards in (True, False):
        homes: defaultdict[str, list[str]] = defaultdict(list)
        for check in checks.values():
            if check.file.endswith(names.SHARD_SUFFIX) and _is_shard(check) == folder_is_shards:
                for key in dict.fromkeys(check.keys):
                    homes[key].append(check.file)
        clashes = Counter(tuple(files) for files in homes.values() if len(files) > 1)
        for files, count in clashes.items():
            example = next(key for key, where in homes.items() if tuple(where) == files)
            remedy = "keys must be unique in a dataset: make one of the files again, or leave it out"
            problem = f"duplicate keys: {count} also stand in {', '.join(files[:-1])}, for example {example!r}"
            yield Finding(files[-1], problem, remedy)


def _wrong_counts(ledger: _Ledger, checks: dict[str, FileCheck]) -> Iterator[Finding]:
    """Compares what commits say became of their rows with what their tars hold."""
    for commit in ledger.commits:
        tars = [output for output in commit.outputs if output.endswith(names.SHARD_SUFFIX)]
        if not tars or any(tar not in checks for tar in tars):
            continue
        found = sum((checks[tar].counts for tar in tars), Counts())
        claimed = commit.counts if commit.stage in INGEST_STAGES else Counts(commit.counts.ok)
        if _nonzero(found) != _nonzero(claimed):
            yield Finding(
                f"commits/{commit.stage}/{commit.partition}.json",
                f"counts {_describe(claimed)}, but {', '.join(tars)} hold {_describe(found)}",
            )


def _foreign_column_keys(ledger: _Ledger, checks: dict[str, FileCheck]) -> Iterator[Finding]:
    """Names columns that speak of images their partition does not hold; a damaged partition is named on its own."""
    owned = ledger.owners()
    for check in checks.values():
        if not check.file.startswith("columns/"):
            continue
        tar = f"images/{Path(check.file).stem}{names.SHARD_SUFFIX}"
        images = checks.get(tar)
        if images.findings if images else tar in owned:
            continue
        unknown = set(check.keys) - set(images.keys if images else ())
        if unknown:
            problem = f"{len(unknown)} keys are not images of this partition, for example {min(unknown)!r}"
            yield Finding(check.file, problem)


def _strays(root: Path, ledger: _Ledger) -> Iterator[Finding]:
    owned = ledger.owners()
    for folder in OWNED_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            file = _relative(root, path)
            if not path.is_dir() and file not in owned and TEMPORARY_MARK not in path.name:
                remedy = "a run that was stopped leaves such files and writes them again; otherwise delete it"
                yield Finding(file, "no commit record owns this file", remedy)


def _temporaries(root: Path) -> Iterator[Finding]:
    for path in sorted(root.rglob(f"*{TEMPORARY_MARK}*")):
        remedy = "if no x2i command is running on this dataset, delete it"
        yield Finding(_relative(root, path), "left over by a writer that was killed", remedy)


def _with_remedies(findings: Sequence[Finding], ledger: _Ledger) -> Iterator[Finding]:
    """Gives findings on committed files the remedy that names the record to delete."""
    owners = ledger.owners()
    for finding in findings:
        commit = owners.get(finding.file)
        record = f"commits/{commit.stage}/{commit.partition}.json" if commit else ""
        if not commit and finding.file.startswith("commits/"):
            record = finding.file
        if finding.remedy == REMAKE and record:
            yield replace(finding, remedy=f"delete {record} and run `x2i {_command(record)}` again")
        else:
            yield finding


def _command(record: str) -> str:
    stage = record.split("/")[1]
    return "materialize" if stage.startswith("materialize-") else stage


def _is_shard(check: FileCheck) -> bool:
    return check.file.endswith(names.SHARD_SUFFIX) and not check.file.startswith("images/")


def _is_wanted(file: str, wanted: set[str] | None) -> bool:
    if wanted is None or file in wanted:
        return True
    return file.endswith(names.INDEX_SUFFIX) and f"{file.removesuffix(names.INDEX_SUFFIX)}.tar" in wanted


def _relative(base: Path, path: Path) -> str:
    return path.relative_to(base).as_posix()


def _named(base: Path, path: Path) -> str:
    """Returns a caller's path, absolute or relative to `base` or to the working folder, as seen from `base`."""
    if path.is_relative_to(base):
        return _relative(base, path)
    if path.is_absolute() and path.resolve().is_relative_to(base.resolve()):
        return _relative(base.resolve(), path.resolve())
    return path.as_posix()


def _nonzero(counts: Counts) -> tuple[int, dict[str, int], dict[str, int]]:
    return counts.ok, {k: v for k, v in counts.filtered.items() if v}, {k: v for k, v in counts.failed.items() if v}


def _describe(counts: Counts) -> str:
    ok, filtered, failed = _nonzero(counts)
    return f"ok {ok}, filtered {filtered or 0}, failed {failed or 0}"
