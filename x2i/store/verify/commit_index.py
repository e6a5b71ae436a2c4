"""What the commits of a dataset claim: which files there are, with which sums, and what became of their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from x2i.errors import RunError
from x2i.store import paths as names
from x2i.store.commits import Counts, list_stages, read_commit
from x2i.store.dataset import is_ingest_stage
from x2i.store.files.atomic import TEMPORARY_MARK
from x2i.store.tombstones import pending_files
from x2i.store.verify.checks import REMAKE, FileCheck, Finding

OWNED_FOLDERS = ("images", "shards", "columns", "relations")


@dataclass(frozen=True)
class Claim:
    """One commit, without what it was made from. outputs: path relative to the dataset -> {"sha256", "bytes"}."""

    stage: str
    partition: str
    outputs: Mapping[str, Mapping[str, Any]]
    counts: Counts

    @property
    def record(self) -> str:
        return f"commits/{self.stage}/{self.partition}.json"


@dataclass
class Claims:
    """The readable commits of a dataset, who owns which output, and what is wrong with the records themselves."""

    all: list[Claim] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    owners: dict[str, Claim] = field(default_factory=dict)


def read_claims(root: Path) -> Claims:
    """Reads every commit record of the dataset at `root`."""
    claims = Claims()
    for stage in list_stages(root):
        for path in sorted((root / "commits" / stage).glob("*.json")):
            try:
                commit = read_commit(root, stage, path.stem)
            except RunError as error:
                problem = str(error).removeprefix(f"{path}: ")
                file = path.relative_to(root).as_posix()
                claims.findings.append(Finding(file, problem, "delete it and run the stage again"))
                continue
            if commit is not None:
                claims.all.append(Claim(commit.stage, commit.partition, commit.outputs, commit.counts))
    claimed = Counter(output for claim in claims.all for output in claim.outputs)
    claims.findings += [
        Finding(output, f"{count} commit records claim this file") for output, count in claimed.items() if count > 1
    ]
    claims.owners = {output: claim for claim in claims.all for output in claim.outputs}
    return claims


def wrong_counts(claims: Claims, checks: Mapping[str, FileCheck]) -> Iterator[Finding]:
    """Compares what commits say became of their rows with what their tars hold."""
    for claim in claims.all:
        tars = [output for output in claim.outputs if output.endswith(names.SHARD_SUFFIX)]
        if not tars or any(tar not in checks for tar in tars):
            continue
        found = sum((checks[tar].counts for tar in tars), Counts())
        claimed = claim.counts if is_ingest_stage(claim.stage) else Counts(claim.counts.ok)
        if _nonzero(found) != _nonzero(claimed):
            problem = f"counts {_describe(claimed)}, but {', '.join(tars)} hold {_describe(found)}"
            yield Finding(claim.record, problem)


def strays(root: Path, claims: Claims) -> Iterator[Finding]:
    """Names the files in the dataset's own folders that no commit owns."""
    for folder in OWNED_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            file = path.relative_to(root).as_posix()
            if not path.is_dir() and file not in claims.owners and TEMPORARY_MARK not in path.name:
                remedy = "a run that was stopped leaves such files and writes them again; otherwise delete it"
                yield Finding(file, "no commit record owns this file", remedy)


def unfinished(root: Path) -> Iterator[Finding]:
    """Names takedowns that were begun and not finished, and files that a killed writer left."""
    for path in pending_files(root):
        remedy = "run `x2i takedown DATASET`, which finishes it"
        yield Finding(path.relative_to(root).as_posix(), "this takedown was begun and is not finished", remedy)
    for path in sorted(root.rglob(f"*{TEMPORARY_MARK}*")):
        remedy = "if no x2i command is running on this dataset, delete it"
        yield Finding(path.relative_to(root).as_posix(), "left over by a writer that was killed", remedy)


def with_remedies(findings: Sequence[Finding], claims: Claims) -> Iterator[Finding]:
    """Gives findings on committed files the remedy that names the record to delete."""
    for finding in findings:
        claim = claims.owners.get(finding.file)
        record = claim.record if claim else ""
        if not claim and finding.file.startswith("commits/"):
            record = finding.file
        if finding.remedy == REMAKE and record:
            yield replace(finding, remedy=f"delete {record} and run `x2i {_command(record)}` again")
        else:
            yield finding


def _command(record: str) -> str:
    stage = record.split("/")[1]
    return "materialize" if stage.startswith("materialize-") else stage


def _nonzero(counts: Counts) -> tuple[int, dict[str, int], dict[str, int]]:
    return counts.ok, {k: v for k, v in counts.filtered.items() if v}, {k: v for k, v in counts.failed.items() if v}


def _describe(counts: Counts) -> str:
    ok, filtered, failed = _nonzero(counts)
    return f"ok {ok}, filtered {filtered or 0}, failed {failed or 0}"
