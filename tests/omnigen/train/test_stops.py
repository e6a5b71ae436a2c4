"""A run that is asked to stop, after whichever step, or goes back to an earlier checkpoint; tiny networks."""

from __future__ import annotations

import json
import shutil
from itertools import count
from pathlib import Path

import pytest
import torch

from omnigen.train.config import TrainingConfig, load_config
from omnigen.train.metrics import read_lines
from omnigen.train.parallel import Ranks
from omnigen.train.run import train
from omnigen.train.setup import assemble
from omnigen.train.trainer import Trainer
from tests.omnigen.train.test_run import damage
from tests.support.training_runs import TASKS, write_config
from tests.support.training_shards import make_shards
from x2i.errors import RunError, UserError

CPU = Ranks(0, 1, torch.device("cpu"))
FILES = ("metrics.jsonl", "validation.jsonl")
STAGES = [{"steps": 5, "max_side": 16, "pack_tokens": 200}, {"steps": 5}]


@pytest.fixture(scope="module")
def settings(shards, tmp_path_factory) -> TrainingConfig:
    """Ten steps in two phases; metrics of three steps a line, held-out losses and pictures every other step."""
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    log = {"every": 3, "validate_every": 2, "sample_every": 4, "sample_held_out": 1}
    return load_config(write_config(path, shards, STAGES, log=log, checkpoint={"every": 4, "keep": 9}))


def live(settings: TrainingConfig, run: Path, *, checkpoint: Path | None = None, stop_after: int = 0) -> Trainer:
    """Trains in `run` until the end, or until it has stopped as asked during step `stop_after`."""
    steps = count(1)  # the trainer asks once in each
    trainer = Trainer(assemble(settings, CPU), run, lambda: next(steps) == stop_after)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    last = list(trainer.train())[-1]
    trainer.close()
    assert last.kind == ("stopped" if stop_after else "trained")
    return trainer


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    live(settings, run)
    return run


@pytest.mark.parametrize("step", range(1, 10))
def test_stopped_after_any_step_it_goes_on_as_if_it_had_not_been(settings, undisturbed, tmp_path, step):
    run = tmp_path / "run"
    stopped = live(settings, run, stop_after=step)
    assert stopped.state.step == step
    checkpoint = run / "checkpoints" / f"step-{step:07d}"
    live(settings, run, checkpoint=checkpoint)
    for name in FILES:
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        f"step-{number:07d}.png" for number in (4, 5, 8, 10)
    ]


def test_what_a_stop_put_off_is_made_up_for_once_however_often_the_next_life_ends(settings, undisturbed, tmp_path):
    run = tmp_path / "run"
    live(settings, run, stop_after=6)
    assert read_lines(run / "validation.jsonl")[-1]["step"] == 5, "a stop does not wait for a validation that is due"
    checkpoint = run / "checkpoints" / "step-0000006"
    for _ in range(2):
        trainer = Trainer(assemble(settings, CPU), run)
        trainer.resume(checkpoint)
        next(event for event in trainer.train() if event.kind == "validation")
        trainer.close()
    live(settings, run, checkpoint=checkpoint)
    for name in FILES:
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_a_run_that_goes_back_to_an_earlier_checkpoint_forgets_the_later_ones(settings, tmp_path):
    run = tmp_path / "run"
    live(settings, run)
    names = ["step-0000004", "step-0000005", "step-0000008", "step-0000010"]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == names
    trainer = Trainer(assemble(settings, CPU), run)
    assert [path.name for path in trainer.resume(run / "checkpoints" / names[1])] == names[2:]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == names[:2]


def test_another_runs_checkpoint_is_not_mixed_into_a_run(shards, tmp_path):
    config = write_config(tmp_path / "c.yaml", shards, train={"steps": 3})
    mine, other = (train(config, [], "auto", tmp_path / name) for name in ("mine", "other"))
    with pytest.raises(UserError, match=r"holds a run of 3 steps, which --resume .*other does not belong to"):
        train(config, ["train.steps=6"], str(other), mine)
    longer = train(config, ["train.steps=6"], str(other), tmp_path / "longer")
    assert read_lines(longer / "metrics.jsonl")[-1]["step"] == 6
    again = train(config, ["train.steps=6"], str(longer / "checkpoints" / "step-0000006"), longer)
    assert (again / "summary.json").is_file()


def test_a_finished_run_that_is_lengthened_is_finished_only_when_it_is(tmp_path):
    dataset = make_shards(tmp_path / "data", TASKS, sizes=((32, 32),))
    config = write_config(tmp_path / "c.yaml", dataset, data={"bad_samples": 0}, train={"steps": 3})
    run = train(config, [], "auto", tmp_path / "run")
    shutil.copytree(dataset, tmp_path / "kept")
    damage(dataset, "denoise", 8)
    for _ in range(2):
        with pytest.raises(RunError, match="could not be decoded"):
            train(config, ["train.steps=20"], "auto", run)
    shutil.copytree(tmp_path / "kept", dataset, dirs_exist_ok=True)
    train(config, ["train.steps=20"], "auto", run)
    assert json.loads((run / "summary.json").read_text())["steps"] == 20
