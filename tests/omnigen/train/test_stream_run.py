"""A run on a stream of shards without an index: killed and continued it is the same run, on any number of ranks."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from omnigen.train.config import load_config
from omnigen.train.metrics import read_lines
from omnigen.train.phases import run_phases
from omnigen.train.training_data import open_training_data
from tests.omnigen.train.test_ranks import assert_equal_runs
from tests.support.training_runs import start, steps_written, train, write_config
from tests.support.training_shards import make_shards
from x2i.errors import UserError

TASKS = ("text_to_image", "canny_to_image", "colorize", "denoise", "inpaint")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    made = make_shards(tmp_path_factory.mktemp("data"), TASKS, sizes=((32, 32),))
    folder = tmp_path_factory.mktemp("foreign")
    for tar in (made / "shards").glob("*.tar"):
        shutil.copy(tar, folder)
    return write_config(
        tmp_path_factory.mktemp("config") / "run.yaml",
        folder,
        data={"stream": 2, "cache_dir": str(tmp_path_factory.mktemp("cache"))},
        train={"steps": 24},
    )


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    result = train(config, run)
    assert result.returncode == 0, result.stderr
    assert "4 shards to train on, 2 at a time, 1 held out" in result.stdout
    assert "streaming, so not promised: " in result.stdout
    return run


@pytest.mark.slow
def test_a_killed_run_on_a_stream_goes_on_bit_for_bit(config, undisturbed, tmp_path):
    for after in (2, 11):
        run = tmp_path / f"killed-{after}"
        process = start(config, run)
        while steps_written(run) < after and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (run / "summary.json").exists()
        result = train(config, run)
        assert result.returncode == 0, result.stderr
        for name in ("metrics.jsonl", "validation.jsonl", "summary.json", "model/model.safetensors"):
            assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name


@pytest.mark.slow
def test_a_stream_gives_two_ranks_what_it_gives_one(config, undisturbed, tmp_path):
    result = train(config, tmp_path / "two", "--set", "data.workers=1", ranks=2)
    assert result.returncode == 0, result.stderr
    assert_equal_runs(tmp_path / "two", undisturbed)


@pytest.mark.slow
def test_a_held_out_shard_is_never_trained_on_and_alone_judged(undisturbed):
    evaluated = {task for line in read_lines(undisturbed / "validation.jsonl") for task in line["tasks"]}
    trained = {task for line in read_lines(undisturbed / "metrics.jsonl") for task in line["tasks"]}
    assert len(evaluated) == 1  # a shard of these holds one task
    assert trained == set(TASKS) - evaluated
    summary = json.loads((undisturbed / "summary.json").read_text())
    assert "training_samples" not in summary
    assert summary["validation"]["trained"]["loss"] < summary["validation"]["untrained"]["loss"]


@pytest.mark.slow
def test_a_stream_is_not_continued_in_groups_of_another_size(config, undisturbed):
    result = train(config, undisturbed, "--set", "data.stream=3", "--set", "train.steps=30")
    assert result.returncode != 0
    assert "data.stream" in result.stderr


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["data.weights={colorize: 1}"], r"data\.weights: a stream takes tasks as its shards hold them"),
        (["data.latents=require"], r"data\.latents: require: a stream does not use"),
        (["data.text=require"], r"data\.text: require: a stream does not use"),
        (["data.validation_fraction=0.99"], r"data\.validation_fraction: found 0\.99"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(config, changes, complaint):
    with pytest.raises(UserError, match=complaint):
        open_training_data(load_config(config, changes).data)


def test_weights_of_a_stage_are_refused_too(config):
    settings = load_config(config, ["phases=[{steps: 2, name: small, weights: {colorize: 1}}]"])
    with pytest.raises(UserError, match="small: weights: a stream takes tasks"):
        open_training_data(settings.data).for_phase(run_phases(settings)[0], settings, None, None)
