"""`x2i reshard` as typed: a dataset that verify and the trainer accept, whatever kills it on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omnigen.data.shards.catalog import Catalog
from tests.support.command_line import file_sums, kill_when, typed
from tests.support.datasets import build_dataset

INLINE = ("--executor", "inline")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=48).root


def test_the_result_is_verified_and_read_by_the_trainer(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--shard-size", 3, "--shuffle-seed", 7, *INLINE)
    assert typed("reshard", source, "--out", tmp_path / "out", *options, "--json") == 0
    summary = json.loads(capsys.readouterr().out)["stages"][0]
    assert (summary["counts"]["ok"], summary["ran"]) == (22, 12)
    assert typed("verify", tmp_path / "out", "--deep") == 0
    before, after = Catalog.open([source]), Catalog.open([tmp_path / "out"])
    assert after.tasks == before.tasks
    assert sorted(after.sample_ref(n).key for n in range(len(after))) == sorted(
        before.sample_ref(n).key for n in range(len(before))
    )


def test_a_second_run_does_nothing_and_other_options_are_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert typed("reshard", source, "--out", out, *INLINE) == 0
    sums = file_sums(out)
    assert typed("reshard", source, "--out", out, *INLINE) == 0
    assert "0 partitions run, 7 done before" in capsys.readouterr().err
    assert typed("reshard", source, "--out", out, "--shuffle-seed", 1, *INLINE) == 2
    assert "shuffle_seed: null -> 1" in capsys.readouterr().err
    assert file_sums(out) == sums


def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("reshard", source, "--out", tmp_path / "out", "--dry-run", *INLINE) == 0
    assert "22 rows in 7 partitions" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_mistyped_source_and_an_out_of_use_are_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("reshard", tmp_path / "nowhere", "--out", tmp_path / "out", *INLINE) == 2
    assert "no training shards" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert typed("reshard", source / "shards/deblur-1in-00000.tar", "--out", source, *INLINE) == 2
    assert "give --out a folder of its own" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_and_continued_it_writes_the_bytes_of_an_uninterrupted_run(source: Path, tmp_path: Path) -> None:
    options = ("--shard-size", 1, "--shuffle-seed", 3, *INLINE)
    assert typed("reshard", source, "--out", tmp_path / "whole" / "out", *options) == 0
    out = tmp_path / "killed" / "out"
    commits = out / "commits" / "reshard"
    for after in (1, 9, 16):
        kill_when(lambda after=after: commits.is_dir() and len(list(commits.glob("*.json"))) >= after,
                  "reshard", source, "--out", out, *options)  # fmt: skip
    assert 1 <= len(list(commits.glob("*.json"))) <= 22
    assert typed("reshard", source, "--out", out, *options) == 0
    assert file_sums(out) == file_sums(tmp_path / "whole" / "out")
