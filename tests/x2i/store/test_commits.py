"""The ledger: records that come back unchanged, notice being edited, and follow what decides bytes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from x2i.errors import RunError
from x2i.store import paths
from x2i.store.commits import Commit, Counts, describe_outputs, list_commits, list_stages, read_commit, write_commit
from x2i.store.files.atomic import write_bytes, write_json


def made(root: Path, partition: str = "00000") -> Commit:
    write_bytes(root / "columns/quality/00000.parquet", b"data")
    outputs = describe_outputs(root, (root / "columns/quality/00000.parquet",))
    counts = Counts(3, {"too_small": 1}, {"timeout": 2})
    return Commit("filter", partition, 1, {"min": 4, "é": [1]}, {"images/00000": "ab"}, "cd", outputs, counts)


def test_a_commit_comes_back_as_written(tmp_path: Path) -> None:
    commit = made(tmp_path)
    write_commit(tmp_path, commit)
    assert read_commit(tmp_path, "filter", "00000") == commit
    assert commit.outputs["columns/quality/00000.parquet"]["bytes"] == 4
    assert commit.counts.total == 6


def test_commits_are_listed_by_partition_and_stages_by_name(tmp_path: Path) -> None:
    for partition in ("00002", "00000", "00001"):
        write_commit(tmp_path, made(tmp_path, partition))
    assert [commit.partition for commit in list_commits(tmp_path, "filter")] == ["00000", "00001", "00002"]
    assert list_stages(tmp_path) == ["filter"]
    assert list(list_commits(tmp_path, "caption")) == []
    assert read_commit(tmp_path, "filter", "00009") is None


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "other"},
        {"format_version": 2},
        {"config": {"min": 5}},
        {"inputs": {"images/00000": "ac"}},
        {"plan": "ce"},
    ],
)
def test_the_fingerprint_follows_everything_that_decides_the_bytes(tmp_path: Path, change: dict[str, Any]) -> None:
    commit = made(tmp_path)
    assert dataclasses.replace(commit, **change).fingerprint != commit.fingerprint


def test_the_fingerprint_does_not_follow_what_came_out(tmp_path: Path) -> None:
    commit = made(tmp_path)
    changed = dataclasses.replace(commit, counts=Counts(1), outputs={}, partition="00001")
    assert changed.fingerprint == commit.fingerprint
    assert changed.outputs_digest != commit.outputs_digest


def test_an_edited_record_is_refused(tmp_path: Path) -> None:
    write_commit(tmp_path, made(tmp_path))
    path = paths.commit_file(tmp_path, "filter", "00000")
    document = json.loads(path.read_bytes())
    write_json(path, {**document, "config": {"min": 99}})
    with pytest.raises(RunError, match="was edited"):
        read_commit(tmp_path, "filter", "00000")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"fingerprint": "x"}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: bytes) -> None:
    write_bytes(paths.commit_file(tmp_path, "filter", "00000"), text)
    with pytest.raises(RunError, match="damaged commit record"):
        read_commit(tmp_path, "filter", "00000")


def test_a_commit_clears_the_failure_of_its_partition(tmp_path: Path) -> None:
    write_json(paths.failure_file(tmp_path, "filter", "00000"), {"error": "boom"})
    write_commit(tmp_path, made(tmp_path))
    assert not paths.failure_file(tmp_path, "filter", "00000").exists()


def test_counts_add_up_by_reason() -> None:
    total = Counts(1, {"too_small": 1}) + Counts(2, {"too_small": 2, "opt_out": 1}, {"timeout": 1})
    assert total == Counts(3, {"opt_out": 1, "too_small": 3}, {"timeout": 1})
