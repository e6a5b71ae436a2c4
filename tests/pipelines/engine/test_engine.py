"""The engine's promises: changes are refused, a poisonous partition costs itself, a kill changes no byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.planning import stage_lock
from pipelines.engine.run import execute, run_stages
from tests.support import REPOSITORY
from tests.support.toy_stage import SharedStage, SquareStage
from x2i.errors import UserError
from x2i.store import Dataset
from x2i.store.columns import read_column
from x2i.store.commits import list_commits

INLINE = RunOptions(executor=Executor.INLINE)
PROCESSES = RunOptions(executor=Executor.PROCESSES, workers=2)
RAY = RunOptions(executor=Executor.RAY, workers=2)
WORKERS = pytest.mark.parametrize("options", ["processes", "ray"], indirect=True)


def file_sums(root: Path) -> dict[str, str]:
    """Every file that a stage leaves, except what is allowed to carry a clock or a lock."""
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and p.parts[len(root.parts)] not in ("logs", "locks")]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_stage_commits_every_partition_and_skips_them_the_second_time(tmp_path, options):
    dataset = Dataset.create(tmp_path)
    first = execute([SquareStage()], dataset, options)[0]
    again = execute([SquareStage()], dataset, options)[0]
    assert (first.ran, first.done_before, first.counts.ok) == (4, 0, 40)
    assert (again.ran, again.done_before, again.counts.ok) == (0, 4, 40)
    assert read_column(tmp_path, "square", "00003")["square"].to_pylist() == [n * n for n in range(30, 40)]


def test_all_executors_write_the_same_bytes(tmp_path, local_ray):
    for name, options in (("a", INLINE), ("b", PROCESSES), ("c", RAY)):
        execute([SquareStage()], Dataset.create(tmp_path / name, "same"), options)
    assert file_sums(tmp_path / "a") == file_sums(tmp_path / "b") == file_sums(tmp_path / "c")


def test_a_partition_that_raises_costs_only_itself_and_is_tried_again(tmp_path, options):
    dataset = Dataset.create(tmp_path)
    summary = execute([SquareStage(raise_on="00001")], dataset, options)[0]
    assert summary.ran == 3
    assert summary.failed == {"00001": "ValueError: a poisonous partition"}
    failure = json.loads((tmp_path / "failures/square/00001.json").read_text())
    assert any("a poisonous partition" in line for line in failure["traceback"])
    mended = execute([SquareStage()], dataset, options)[0]
    assert (mended.ran, mended.done_before, mended.failed) == (1, 3, {})
    assert not (tmp_path / "failures/square/00001.json").exists()


@WORKERS
def test_a_partition_that_kills_its_worker_costs_only_itself(tmp_path, options):
    dataset = Dataset.create(tmp_path)
    summary = execute([SquareStage(die_on="00002")], dataset, options)[0]
    assert summary.ran == 3
    assert "died" in summary.failed["00002"]
    assert execute([SquareStage()], dataset, options)[0].ran == 1


@WORKERS
def test_a_worker_that_cannot_be_made_fails_its_partitions_in_words(tmp_path, options):
    summary = execute([SquareStage(needs="a model that is not there")], Dataset.create(tmp_path), options)[0]
    assert set(summary.failed.values()) == {"UserError: square: needs a model that is not there"}
    assert len(summary.failed) == 4


def test_a_small_job_that_died_in_its_own_process_is_left_to_another(tmp_path):
    code = (
        "from pathlib import Path; from pipelines.engine.options import RunOptions; "
        "from pipelines.engine.run import execute; "
        "from tests.support.toy_stage import SquareStage; from x2i.store import Dataset; "
        f"dataset = Dataset.create(Path({str(tmp_path)!r})); "
        "execute([SquareStage(partitions=2, die_on='00000')], dataset, RunOptions(workers=1))"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert process.returncode == -signal.SIGKILL
    again = execute([SquareStage(partitions=2, die_on="00000")], Dataset.open(tmp_path), RunOptions(workers=1))[0]
    assert "died" in again.failed["00000"]
    assert again.ran == 1
    mended = execute([SquareStage(partitions=2)], Dataset.open(tmp_path), RunOptions(workers=1))[0]
    assert (mended.ran, mended.failed) == (1, {})
    assert not list((tmp_path / "locks").glob("*.inline.lock"))


def shared(**options: object) -> list[SharedStage]:
    return [SharedStage(name="first"), SharedStage(name="second", **options)]


def test_stages_that_share_their_inputs_run_each_partition_together(tmp_path, options):
    dataset = Dataset.create(tmp_path)
    (tmp_path / "logs").mkdir()
    first, second = execute(shared(raise_on="00001"), dataset, options)
    assert (first.ran, second.ran, list(second.failed)) == (4, 3, ["00001"])
    calls = sorted((tmp_path / "logs/calls").read_text().splitlines())
    assert calls == [f"first+second {number:05d}" for number in range(4)]
    first, second = execute(shared(), dataset, options)
    assert (first.ran, first.done_before, second.ran) == (0, 4, 1)


@WORKERS
def test_a_stage_that_kills_its_worker_does_not_cost_those_that_it_shares_with(tmp_path, options):
    dataset = Dataset.create(tmp_path)
    (tmp_path / "logs").mkdir()
    first, second = execute(shared(die_on="00002"), dataset, options)
    assert (first.ran, second.ran, list(second.failed)) == (4, 3, ["00002"])


@pytest.mark.slow
@WORKERS
def test_many_poisonous_partitions_cost_only_themselves(tmp_path, options):
    poisonous = ",".join(f"{number:05d}" for number in (0, 1, 3))
    summary = execute([SquareStage(partitions=6, die_on=poisonous)], Dataset.create(tmp_path), options)[0]
    assert sorted(summary.failed) == poisonous.split(",")
    assert summary.ran == 3


def test_changed_options_are_refused_by_name_and_overwrite_redoes(tmp_path):
    dataset = Dataset.create(tmp_path)
    execute([SquareStage()], dataset, INLINE)
    with pytest.raises(UserError, match=r"option factor: 1 -> 3"):
        execute([SquareStage(factor=3)], dataset, INLINE)
    assert read_column(tmp_path, "square", "00000")["square"].to_pylist()[2] == 4
    execute([SquareStage(factor=3)], dataset, replace(INLINE, overwrite=True))
    assert read_column(tmp_path, "square", "00000")["square"].to_pylist()[2] == 12


def test_new_inputs_extend_earlier_results_and_lost_ones_are_refused(tmp_path):
    dataset = Dataset.create(tmp_path)
    execute([SquareStage(partitions=2)], dataset, INLINE)
    grown = execute([SquareStage(partitions=5)], dataset, INLINE)[0]
    assert (grown.ran, grown.done_before) == (3, 2)
    with pytest.raises(UserError, match="partition 00002: no longer planned"):
        execute([SquareStage(partitions=2)], dataset, INLINE)
    execute([SquareStage(partitions=2)], dataset, replace(INLINE, overwrite=True))
    assert [commit.partition for commit in list_commits(tmp_path, "square")] == ["00000", "00001"]
    assert not (tmp_path / "columns/square/00004.parquet").exists()


def test_a_dry_run_writes_nothing(tmp_path):
    dataset = Dataset.create(tmp_path)
    before = file_sums(tmp_path)
    summary = execute([SquareStage()], dataset, replace(INLINE, dry_run=True))[0]
    assert (summary.planned_partitions, summary.planned_rows, summary.ran) == (4, 40, 0)
    assert file_sums(tmp_path) == before


def test_a_dry_run_says_what_would_be_refused_and_fails(tmp_path):
    dataset = Dataset.create(tmp_path)
    run_stages([SquareStage()], dataset, INLINE)
    before = file_sums(tmp_path)
    run_stages([SquareStage()], dataset, replace(INLINE, dry_run=True))
    with pytest.raises(typer.Exit):
        run_stages([SquareStage(factor=2)], dataset, replace(INLINE, dry_run=True))
    run_stages([SquareStage(factor=2)], dataset, replace(INLINE, dry_run=True, overwrite=True))
    assert file_sums(tmp_path) == before


def test_limit_runs_the_first_partitions_only(tmp_path):
    dataset = Dataset.create(tmp_path)
    assert execute([SquareStage()], dataset, replace(INLINE, limit=2))[0].ran == 2
    assert execute([SquareStage()], dataset, replace(INLINE, limit=2))[0].ran == 0
    assert execute([SquareStage()], dataset, INLINE)[0].ran == 2


def test_two_processes_do_not_run_one_stage_at_once(tmp_path):
    dataset = Dataset.create(tmp_path)
    with stage_lock(dataset, "square"), pytest.raises(UserError, match="another process is running square"):
        execute([SquareStage()], dataset, INLINE)


def test_leftovers_of_a_killed_writer_are_cleared(tmp_path):
    dataset = Dataset.create(tmp_path)
    leftover = tmp_path / "columns/square/00001.parquet.tmp-123-abcd"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    execute([SquareStage()], dataset, INLINE)
    assert not leftover.exists()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "processes", "ray"])
def test_sigkill_of_the_driver_at_any_moment_leaves_the_same_bytes_after_a_rerun(tmp_path, executor):
    command = [sys.executable, "-m", "tests.support.toy_stage"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([*command, str(tmp_path / "whole"), executor], check=True, env=environment, cwd=REPOSITORY)
    wanted = file_sums(tmp_path / "whole")
    rng = random.Random(7)
    for attempt in range(2):
        root = tmp_path / f"killed-{attempt}"
        process = subprocess.Popen([*command, str(root), executor], env=environment, cwd=REPOSITORY)
        deadline = time.monotonic() + 60
        target = rng.randint(1, 6)
        while len(list(root.glob("commits/square/*.json"))) < target and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run([*command, str(root), executor], check=True, env=environment, cwd=REPOSITORY)
        assert file_sums(root) == wanted
