"""Real gloo ranks: who computes changes, what is computed does not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from omnigen.train.metrics import read_lines
from omnigen.train.run import train as train_here
from pipelines.engine.interrupt import descendants
from tests.support.training_runs import start_torchrun, steps_written, train, write_config
from x2i.image import decode

pytestmark = pytest.mark.slow


def assert_equal_runs(run: Path, other: Path) -> None:
    for name in ("metrics.jsonl", "validation.jsonl"):
        lines, others = read_lines(run / name), read_lines(other / name)
        assert len(lines) == len(others) > 0
        for line, expected in zip(lines, others):
            assert flat(line) == pytest.approx(flat(expected), rel=1e-6, abs=1e-6)


def flat(line: dict) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in line.items():
        found |= {f"{name}/{k}": v for k, v in flat(value).items()} if isinstance(value, dict) else {name: value}
    return found


def test_two_ranks_take_the_same_packs_and_have_the_same_loss_as_one(config, alone, tmp_path):
    result = train(config, tmp_path / "two", ranks=2)
    assert result.returncode == 0, result.stderr
    assert_equal_runs(tmp_path / "two", alone)
    drawn, expected = (
        decode((run / "samples" / "step-0000006.png").read_bytes()).astype(int) for run in (tmp_path / "two", alone)
    )
    assert np.abs(drawn - expected).max() <= 2, "the ranks share the rows of the sheet"
    assert (tmp_path / "two" / "summary.json").is_file()


def test_four_ranks_that_load_in_workers_have_the_same_losses_as_one_that_loads_itself(config, tmp_path):
    steps = ("train.packs_per_step=4", "train.steps=3", "log.sample_every=0", "log.validate_every=0")
    alone = train_here(config, list(steps), "auto", tmp_path / "alone")
    options = [part for step in steps for part in ("--set", step)]
    result = train(config, tmp_path / "four", *options, "--set", "data.workers=1", ranks=4)
    assert result.returncode == 0, result.stderr
    assert_equal_runs(tmp_path / "four", alone)
    for line, expected in zip(*(read_lines(run / "metrics.jsonl") for run in (tmp_path / "four", alone))):
        for name in ("samples", "target_tokens", "tokens", "fill"):
            assert line[name] == expected[name], "the same packs"


def test_a_run_stopped_by_signals_goes_on_on_other_numbers_of_ranks(shards, tmp_path):
    config = write_config(
        tmp_path / "c.yaml",
        shards,
        train={"steps": 50, "packs_per_step": 3, "pack_tokens": 200},
        log={"validate_every": 0, "validation_samples": 1},
        checkpoint={"every": 1000},
    )
    alone, run = train_here(config, [], "auto", tmp_path / "alone"), tmp_path / "elastic"
    done = stopped(config, run, ranks=2, signalled=slice(1, 2))  # one is enough
    done = stopped(config, run, ranks=3, signalled=slice(None), begun=done)
    assert done < 50
    assert not (run / "summary.json").exists()
    train_here(config, [], "auto", run)
    assert_equal_runs(run, alone)


def stopped(config: Path, run: Path, ranks: int, signalled: slice, begun: int = 0) -> int:
    """Goes on with a run, and sends SIGTERM to some of its ranks after a few steps; returns the steps that are done."""
    process = start_torchrun(config, run, ranks)
    try:
        while steps_written(run) < begun + 3 and process.poll() is None:
            time.sleep(0.01)
        found = ranks_of(process.pid)
        assert len(found) == ranks
        for rank in found[signalled]:
            os.kill(rank, signal.SIGTERM)
        assert process.wait(60) == 0, "every rank saves and exits cleanly"
    finally:
        for pid in [*descendants(process.pid), process.pid] if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
    done = steps_written(run)
    assert done >= begun + 3
    assert (run / "checkpoints" / f"step-{done:07d}" / "COMPLETE").exists()
    return done


def ranks_of(launcher: int) -> list[int]:
    """Returns the processes of torchrun's ranks."""
    return [pid for pid in descendants(launcher) if b"omnigen.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_more_ranks_than_packs_are_refused(config, tmp_path):
    result = train(config, tmp_path / "many", "--set", "train.packs_per_step=1", ranks=2)
    assert result.returncode != 0
    assert "train.packs_per_step: found 1, expected at least 2" in result.stderr
