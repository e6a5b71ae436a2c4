"""Training on Ray's workers: the same numbers as anywhere, also after a worker was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.engine.interrupt import descendants
from tests.omnigen.train.test_ranks import assert_equal_runs
from tests.support.training_runs import REPOSITORY, TASKS, environment, steps_written, train, write_config
from tests.support.training_shards import make_shards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS = 12


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    shards = make_shards(folder / "shards", TASKS, sizes=((32, 32),))
    return write_config(folder / "run.yaml", shards, train={"steps": STEPS}, log={"validate_every": 0})


def on_ray(config: Path, run: Path, *options: str) -> subprocess.Popen[str]:
    command = ["train", str(config), "--out", str(run), "--workers", "2", "--cpu", *options]
    return subprocess.Popen(
        [sys.executable, "-c", "from pipelines.cli import main; main()", *command],
        cwd=REPOSITORY,
        env={**environment(), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def rank_processes(driver: int) -> list[int]:
    found = []
    for pid in descendants(driver):
        try:
            if b"RayTrainWorker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue  # it has ended meanwhile
    return found


def test_a_run_on_two_workers_one_of_which_is_killed_equals_one_rank(config: Path, tmp_path: Path) -> None:
    alone = train(config, tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    run = tmp_path / "ray"
    driver = on_ray(config, run)
    while driver.poll() is None and steps_written(run) < 4:
        time.sleep(0.01)
    killed = rank_processes(driver.pid)
    assert len(killed) == 2
    os.kill(killed[1], signal.SIGKILL)
    errors = driver.communicate(timeout=400)[1]
    assert driver.returncode == 0, errors
    assert steps_written(run) == STEPS
    assert_equal_runs(run, tmp_path / "alone")
    assert (run / "model" / "model.safetensors").is_file()


def test_a_mistake_is_told_in_words(config: Path, tmp_path: Path) -> None:
    driver = on_ray(config, tmp_path / "run", "--set", "train.packs_per_step=1", "--max-failures", "0")
    errors = driver.communicate(timeout=300)[1]
    assert driver.returncode == 2, errors
    assert "x2i: train.packs_per_step: found 1, expected at least 2, one for every rank" in errors
