"""The ledger: a partition is done if and only if its commit record exists and its fingerprint matches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from x2i.errors import RunError
from x2i.sample import canonical_json
from x2i.store import paths
from x2i.store.files.atomic import write_json
from x2i.store.files.cache import local_copy
from x2i.store.files.remote import list_files, read_many

_READ_AT_ONCE = 1000


@dataclass(frozen=True)
class Counts:
    """What became of a partition's rows: kept, dropped by a rule (by reason), gone wrong (by reason)."""

    ok: int = 0
    filtered: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.ok + other.ok, _add(self.filtered, other.filtered), _add(self.failed, other.failed))

    @property
    def total(self) -> int:
        return self.ok + sum(self.filtered.values()) + sum(self.failed.values())


@dataclass(frozen=True)
class Commit:
    """One finished partition. `config`, `inputs`, `plan` and `format_version` decide the bytes of `outputs`.

    inputs: name of what was read -> digest. plan: sha256 of the plan partition's rows.
    outputs: path relative to the dataset -> {"sha256", "bytes"}.
    """

    stage: str
    partition: str
    format_version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    plan: str
    outputs: Mapping[str, Mapping[str, Any]]
    counts: Counts

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.stage, self.format_version, self.config, self.inputs, self.plan)

    @property
    def outputs_digest(self) -> str:
        """A digest of what this partition holds, for the stages that read it."""
        return digest({path: entry["sha256"] for path, entry in self.outputs.items()})


def fingerprint(
    stage: str, format_version: int, config: Mapping[str, Any], inputs: Mapping[str, str], plan: str
) -> str:
    """Returns the digest of everything that decides a partition's bytes."""
    return digest([stage, format_version, dict(config), dict(inputs), plan])


def digest(document: Any) -> str:
    """Returns the sha256 of a JSON document's canonical text, in hex."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Returns the sha256 of a file, in hex."""
    with open(local_copy(path), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_commit(root: Path, commit: Commit) -> None:
    """Writes `commit` last of all, atomically; clears the partition's failure record."""
    document = {**asdict(commit), "fingerprint": commit.fingerprint}
    write_json(paths.commit_file(root, commit.stage, commit.partition), document)
    paths.failure_file(root, commit.stage, commit.partition).unlink(missing_ok=True)


def read_commit(root: Path, stage: str, partition: str) -> Commit | None:
    """Returns the commit of a partition, or None. Raises RunError if the record is damaged."""
    path = paths.commit_file(root, stage, partition)
    return _parse(path, path.read_bytes()) if path.exists() else None


def list_commits(root: Path, stage: str) -> Iterator[Commit]:
    """Yields the commits of `stage` by partition name. Raises RunError if a record is damaged."""
    files = list_files(root / "commits" / stage, ".json")
    for start in range(0, len(files), _READ_AT_ONCE):
        batch = files[start : start + _READ_AT_ONCE]
        for path, data in zip(batch, read_many(batch)):
            yield _parse(path, data)


def _parse(path: Path, data: bytes) -> Commit:
    try:
        document = json.loads(data)
        recorded = document.pop("fingerprint")
        commit = Commit(**{**document, "counts": Counts(**document["counts"])})
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: damaged commit record ({error!r}): delete it and run the stage again") from error
    if recorded != commit.fingerprint:
        raise RunError(f"{path}: the commit record was edited: delete it and run the stage again")
    return commit


def list_stages(root: Path) -> list[str]:
    """Returns the names of the stages that have committed anything."""
    return sorted(path.name for path in (root / "commits").glob("*") if path.is_dir())


def describe_outputs(
    root: Path, outputs: Iterable[Path], digests: Mapping[Path, str] = MappingProxyType({})
) -> dict[str, dict[str, Any]]:
    """Returns the `outputs` entry of a commit for files that were just written.

    digests: the sha256 of those whose writer summed them up; the others are read.
    """
    return {
        path.relative_to(root).as_posix(): {
            "sha256": digests.get(path) or file_digest(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(outputs)
    }


def _add(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in sorted({*left, *right})}
