"""The boards show the numbers and pictures of the files, under names that can be compared between runs."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

from omnigen.train.metrics import read_lines
from omnigen.train.run import train
from tests.support.in_process_training import go_on, training
from tests.support.training_runs import write_config
from x2i.errors import UserError


def numbers(values, prefix):
    """Every number of a line of a file, by the name it should have on a board."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}/{name}")
        elif value is not None and name != "step":
            found[f"{prefix}/{name}"] = value
    return found


def test_tensorboard_shows_every_number_of_the_files_and_the_pictures(shards, tmp_path):
    log = {"every": 1, "validate_every": 2, "sample_every": 4, "sample_held_out": 1}
    config = write_config(tmp_path / "c.yaml", shards, train={"steps": 4, "packs_per_step": 1}, log=log)
    run = train(config, [], "auto", tmp_path / "run")
    board = EventAccumulator(str(run / "tensorboard"), {SCALARS: 0, IMAGES: 0})
    board.Reload()

    expected = {}
    for stem, lines in (("metrics", 4), ("validation", 3), ("timing", 4)):
        written = read_lines(run / f"{stem}.jsonl")
        assert len(written) == lines
        for line in written:
            for tag, value in numbers(line, stem).items():
                expected.setdefault(tag, []).append((line["step"], float(np.float32(value))))
    shown = {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()[SCALARS]}
    assert shown == expected
    assert shown.keys() >= {
        "metrics/loss", "metrics/lr", "metrics/grad_norm", "metrics/tasks/text_to_image", "metrics/tasks/colorize",
        "metrics/timesteps/0.50-0.75", "validation/loss", "validation/tasks/denoise", "validation/timesteps/0.00-0.25",
        "validation/mean_predictor/loss", "timing/tokens_per_second",
    }  # fmt: skip

    assert board.Tags()[IMAGES] == ["samples"]
    (picture,) = board.Images("samples")
    assert picture.step == 4
    on_board = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
    assert np.array_equal(on_board, np.asarray(Image.open(run / "samples" / "step-0000004.png").convert("RGB")))


@pytest.mark.slow
def test_weights_and_biases_gets_the_numbers_if_it_is_installed(shards, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log = {"wandb": "pictures", "sample_every": 3, "sample_held_out": 1}
    config = write_config(tmp_path / "c.yaml", shards, train={"steps": 3}, log=log)
    run = tmp_path / "run"
    with training(config, run) as trainer:
        go_on(trainer.train())
        assert trainer._log is not None
        summary = dict(trainer._log._wandb.summary)
    (line,) = [line for line in read_lines(run / "metrics.jsonl") if line["step"] == summary["_step"]]
    assert summary["metrics/loss"] == line["loss"]
    assert summary["metrics/tasks/colorize"] == line["tasks"]["colorize"]
    assert summary["validation/loss"] == read_lines(run / "validation.jsonl")[0]["loss"]  # at the beginning
    assert len(list(run.glob("wandb/offline-run-*/files/media/images/samples_3_*.png"))) == 1


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_weights_and_biases_that_is_not_installed_is_said_with_the_command_that_installs_it(shards, tmp_path):
    config = write_config(tmp_path / "c.yaml", shards, train={"steps": 2}, log={"wandb": "pictures"})
    with pytest.raises(UserError, match=r"^log\.wandb: 'pictures': .*pip install wandb$"):
        train(config, [], "auto", tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())
