"""A run that is stopped and started again, or asked for what does not fit it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from omnigen.train.metrics import read_lines
from tests.support.training_runs import start, steps_written, train, write_config

pytestmark = pytest.mark.slow
DETERMINISTIC = ("metrics.jsonl", "validation.jsonl", "summary.json", "model/model.safetensors", "model/config.json")


@pytest.fixture(scope="module")
def config(shards, tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("config") / "run.yaml", shards, train={"steps": 40})


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    result = train(config, run)
    assert result.returncode == 0, result.stderr
    return run


def assert_same(run: Path, other: Path) -> None:
    for name in DETERMINISTIC:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


def test_sigterm_saves_and_exits_cleanly(config, undisturbed, tmp_path):
    run = tmp_path / "preempted"
    process = start(config, run)
    while steps_written(run) < 7 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    done = steps_written(run)
    assert (run / "checkpoints" / f"step-{done:07d}" / "COMPLETE").exists()
    assert not (run / "summary.json").exists()
    result = train(config, run)
    assert result.returncode == 0, result.stderr
    assert_same(run, undisturbed)


@pytest.mark.parametrize(("number", "steps"), [(signal.SIGTERM, 5), (signal.SIGINT, 1)])
def test_a_signal_to_its_whole_group_ends_no_worker_before_the_run_is_saved(
    config, undisturbed, tmp_path, number, steps
):
    run = tmp_path / "preempted"
    process = start(config, run, "--set", "data.workers=2")
    while steps_written(run) < steps and process.poll() is None:
        time.sleep(0.001)
    os.killpg(process.pid, number)
    assert process.wait(60) == 0
    assert (run / "checkpoints" / f"step-{steps_written(run):07d}" / "COMPLETE").exists()
    result = train(config, run)
    assert result.returncode == 0, result.stderr
    assert_same(run, undisturbed)


def test_metrics_hold_no_clock_and_timing_is_kept_apart(undisturbed):
    metrics = read_lines(undisturbed / "metrics.jsonl")
    assert [line["step"] for line in metrics] == list(range(1, 41))
    assert set(metrics[0]) == {
        "step", "phase", "loss", "grad_norm", "tasks", "timesteps", "fill", "lr", "samples", "target_tokens", "tokens",
        "bad_samples",
    }  # fmt: skip
    timing = read_lines(undisturbed / "timing.jsonl")
    assert len(timing) == 40
    assert timing[-1]["tokens_per_second"] > 0
    assert list((undisturbed / "tensorboard").iterdir())


def test_a_trained_network_beats_itself_untrained(undisturbed):
    validation = json.loads((undisturbed / "summary.json").read_text())["validation"]
    assert validation["trained"]["loss"] < validation["untrained"]["loss"]
    assert validation["mean_predictor"]["loss"] <= validation["untrained"]["loss"]


def test_a_finished_run_is_left_alone(config, undisturbed):
    before = {path: os.stat(path).st_mtime_ns for path in undisturbed.rglob("*")}
    result = train(config, undisturbed)
    assert result.returncode == 0
    assert "nothing to do" in result.stdout
    assert before == {path: os.stat(path).st_mtime_ns for path in undisturbed.rglob("*")}


def test_a_run_is_not_continued_with_other_settings_or_other_data(config, undisturbed, shards):
    changed = train(config, undisturbed, "--set", "train.lr=0.1")
    assert changed.returncode == 2
    assert "train.lr was 0.003, is 0.1" in changed.stderr
    never = train(config, undisturbed, "--resume", "never")
    assert never.returncode == 2
    assert "--resume never was given" in never.stderr


def test_a_run_can_be_lengthened_and_a_new_one_can_begin_from_its_checkpoint(config, undisturbed, tmp_path):
    result = train(
        config, tmp_path / "longer", "--set", "train.steps=42", "--resume", str(undisturbed), "--set", "log.every=2"
    )
    assert result.returncode == 0, result.stderr
    assert [line["step"] for line in read_lines(tmp_path / "longer" / "metrics.jsonl")] == [42]
