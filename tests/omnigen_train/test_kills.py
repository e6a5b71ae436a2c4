"""A run that is killed, at whatever moment, and started again gives the same bytes as one that is left alone."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.omnigen_train.runs import start, steps_written, train, write_config
from x2i.seeding import generator

ROUNDS = 20
DETERMINISTIC = ("metrics.jsonl", "validation.jsonl", "summary.json", "model/model.safetensors", "model/config.json")
STAGES = [
    {"steps": 25, "max_side": 16, "pack_tokens": 200},
    {"steps": 20, "lr": 0.001, "weights": {"colorize": 3, "denoise": 1}},
    {"steps": 45, "max_side": 16},
]
BOUNDARIES = (25, 45)


def saving(run: Path) -> bool:
    """Whether a checkpoint is being written this moment."""
    return any(not (folder / "COMPLETE").exists() for folder in (run / "checkpoints").glob("step-*"))


def changing(run: Path) -> bool:
    """Whether the run is between the last step of a stage and the first of the next."""
    return steps_written(run) in BOUNDARIES


def kill_when(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> bool:
    """Kills with SIGKILL once `condition` holds; False if the process ended before."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if condition():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.0005)
    assert process.poll() is not None, "the run hangs"
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_of_any_phase_it_gives_the_same_bytes(shards, tmp_path):
    config = write_config(tmp_path / "run.yaml", shards, stages=STAGES, checkpoint={"every": 4})
    undisturbed, run, random = tmp_path / "undisturbed", tmp_path / "killed", generator("kills")
    result = train(config, undisturbed)
    assert result.returncode == 0, result.stderr
    kills: Counter[str] = Counter()
    while kills.total() < ROUNDS:
        done, process = steps_written(run), start(config, run)
        next_boundary = min((step for step in BOUNDARIES if step >= done), default=10**9)
        if next_boundary - done < 6 and kills["stage change"] < 2 * (1 + BOUNDARIES.index(next_boundary)):
            killed = kill_when(process, lambda: changing(run))
            kills["stage change"] += killed
        elif kills.total() % 2:
            killed = kill_when(process, lambda: saving(run))
            kills["save"] += killed
        else:
            until = done + int(random.integers(0, 7))
            killed = kill_when(process, lambda until=until: steps_written(run) >= until)
            kills["step"] += killed
        assert killed, f"the run ended after {kills.total()} kills"
    assert min(kills["stage change"], kills["save"], kills["step"]) >= 3
    result = train(config, run, "--set", "data.workers=1")
    assert result.returncode == 0, result.stderr
    assert "continuing from" in result.stdout
    for name in DETERMINISTIC:
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert len(list((run / "checkpoints").iterdir())) == 2
