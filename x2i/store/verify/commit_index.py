"""The commit index: which files the commits of a dataset own, with which sums, and what became of their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from x2i.errors import RunError
from x2i.store import paths as names
from x2i.store.commits import Counts, list_stages, read_commit
from x2i.store.files.atomic import TEMPORARY_MARK
from x2i.store.stages import command_of, kind_of, read_spec
from x2i.store.tombstones import pending_files
from x2i.store.verify.checks import REMAKE, FileCheck, Finding

OWNED_FOLDERS = ("images", "shards", "columns", "relations")


@dataclass(frozen=True)
class CommitEntry:
    """One commit, without what it was made from. outputs: path relative to the dataset -> {"sha256", "bytes"}."""

    stage: str
    partition: str
    outputs: Mapping[str, Mapping[str, Any]]
    counts: Counts

    @property
    def record(self) -> str:
        return f"commits/{self.stage}/{self.partition}.json"


@dataclass
class CommitIndex:
    """The readable commits of a dataset, who owns which output, and what is wrong with the records themselves."""

    all: list[CommitEntry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    owners: dict[str, CommitEntry] = field(default_factory=dict)


def read_commit_index(root: Path) -> CommitIndex:
    """Reads every commit record of the dataset at `root`."""
    index = CommitIndex()
    for stage in list_stages(root):
        for path in sorted((root / "commits" / stage).glob("*.json")):
            try:
                commit = read_commit(root, stage, path.stem)
            except RunError as error:
                problem = str(error).removeprefix(f"{path}: ")
                file = path.relative_to(root).as_posix()
                index.findings.append(Finding(file, problem, "delete it and run the stage again"))
                continue
            if commit is not None:
                index.all.append(CommitEntry(commit.stage, commit.partition, commit.outputs, commit.counts))
    owned = Counter(output for entry in index.all for output in entry.outputs)
    index.findings += [
        Finding(output, f"{count} commit records claim this file") for output, count in owned.items() if count > 1
    ]
    index.owners = {output: entry for entry in index.all for output in entry.outputs}
    return index


def wrong_counts(index: CommitIndex, checks: Mapping[str, FileCheck]) -> Iterator[Finding]:
    """Compares what commits say became of their rows with what their tars hold."""
    for entry in index.all:
        tars = [output for output in entry.outputs if output.endswith(names.SHARD_SUFFIX)]
        if not tars or any(tar not in checks for tar in tars):
            continue
        found = sum((checks[tar].counts for tar in tars), Counts())
        owned = entry.counts if kind_of(entry.outputs) == "images" else Counts(entry.counts.ok)
        if _nonzero(found) != _nonzero(owned):
            problem = f"counts {_describe(owned)}, but {', '.join(tars)} hold {_describe(found)}"
            yield Finding(entry.record, problem)


def orphans(root: Path, index: CommitIndex) -> Iterator[Finding]:
    """Names the files in the dataset's own folders that no commit owns."""
    for folder in OWNED_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            file = path.relative_to(root).as_posix()
            if not path.is_dir() and file not in index.owners and TEMPORARY_MARK not in path.name:
                fix = "a run that was stopped leaves such files and writes them again; otherwise delete it"
                yield Finding(file, "no commit record owns this file", fix)


def unfinished(root: Path) -> Iterator[Finding]:
    """Names takedowns that were begun and not finished, and files that a killed writer left."""
    for path in pending_files(root):
        fix = "run `x2i takedown DATASET`, which finishes it"
        yield Finding(path.relative_to(root).as_posix(), "this takedown was begun and is not finished", fix)
    for path in sorted(root.rglob(f"*{TEMPORARY_MARK}*")):
        fix = "if no x2i command is running on this dataset, delete it"
        yield Finding(path.relative_to(root).as_posix(), "left over by a writer that was killed", fix)


def with_fixes(root: Path, findings: Sequence[Finding], index: CommitIndex) -> Iterator[Finding]:
    """Gives findings on committed files the fix that names the record to delete."""
    for finding in findings:
        entry = index.owners.get(finding.file)
        record = entry.record if entry else ""
        if not entry and finding.file.startswith("commits/"):
            record = finding.file
        if finding.fix == REMAKE and record:
            yield replace(finding, fix=f"delete {record} and run `x2i {_command(root, record, index)}` again")
        else:
            yield finding


def _command(root: Path, record: str, index: CommitIndex) -> str:
    stage = record.split("/")[1]
    outputs = [output for entry in index.all if entry.stage == stage for output in entry.outputs]
    return command_of(stage, read_spec(root, outputs))


def _nonzero(counts: Counts) -> tuple[int, dict[str, int], dict[str, int]]:
    return counts.ok, {k: v for k, v in counts.filtered.items() if v}, {k: v for k, v in counts.failed.items() if v}


def _describe(counts: Counts) -> str:
    ok, filtered, failed = _nonzero(counts)
    return f"ok {ok}, filtered {filtered or 0}, failed {failed or 0}"
