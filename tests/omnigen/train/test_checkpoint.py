"""What a checkpoint brings back: the moment it was saved, whatever happened to the tensors after."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch

from omnigen.train.checkpoint import Checkpoints
from omnigen.train.run import train
from tests.support.in_process_training import CPU, go_on, training
from tests.support.training_runs import TASKS, write_config
from tests.support.training_shards import make_shards
from x2i.errors import UserError
from x2i.store.shards import find_shards


def tensors(trainer):
    """Everything that a checkpoint holds, sharing memory with the run."""
    states = {place: dict(state) for place, state in enumerate(trainer.optimizer.state.values())}
    return {"model": list(trainer.setup.trained), "average": trainer.setup.average.average, "optimizer": states}


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in (value.values() if isinstance(value, dict) else value) for tensor in flat(item)]


@pytest.mark.parametrize("background", [True, False])
def test_a_checkpoint_holds_what_there_was_when_it_was_saved(shards, tmp_path, background):
    config = write_config(tmp_path / "c.yaml", shards, log={"validate_every": 0}, train={"packs_per_step": 1})
    with training(config, tmp_path / "run") as trainer:
        go_on(trainer.train(), lambda event: event.step == 2)
        setup, expected = trainer.setup, copy.deepcopy(tensors(trainer))
        assert len(flat(expected)) == 5 * len(setup.trained), "weight, average, two moments and a count of steps"
        checkpoints = Checkpoints(tmp_path / "checkpoints", 1, CPU, background)
        path = checkpoints.save(trainer.state, setup.model, trainer.optimizer, setup.average)
        with torch.no_grad():
            for tensor in flat(tensors(trainer)):
                tensor.add_(1.0)
        checkpoints.wait()
    with training(config, tmp_path / "other", "train.seed=1") as other:
        other.resume(path)
        torch.testing.assert_close(tensors(other), expected, rtol=0, atol=0)


@pytest.mark.parametrize("background", [True, False])
def test_a_run_resumed_within_an_interval_of_its_log_writes_the_same_lines(shards, tmp_path, background):
    config = write_config(
        tmp_path / "c.yaml",
        shards,
        train={"packs_per_step": 1},
        log={"every": 3, "validation_samples": 1},
        checkpoint={"every": 4, "background": background},
    )
    with training(config, tmp_path / "whole") as whole:
        go_on(whole.train())
    with training(config, tmp_path / "run") as first:
        go_on(first.train(), lambda event: event.kind == "checkpoint")
        assert first.state.step == 4
    with training(config, tmp_path / "run") as second:
        second.resume(second.checkpoints.complete()[-1])
        assert second.state.step == 4
        go_on(second.train())
    for name in ("metrics.jsonl", "validation.jsonl"):
        written = (tmp_path / "run" / name).read_bytes()
        assert written == (tmp_path / "whole" / name).read_bytes()
        assert written.count(b"\n") == 4, name  # steps 3, 6, 9, 12; and 0, 5, 10, 12


def take_a_shard_away(dataset):
    shard = next(shard for shard in find_shards(dataset) if shard.name.startswith("denoise"))
    for path in dataset.rglob(f"{shard.tar.stem}*"):
        path.unlink()


def put_others_in_its_place(dataset):
    shutil.rmtree(dataset)
    make_shards(dataset, TASKS, sizes=((16, 16),))  # as many, of the same photographs: only the keys differ


@pytest.mark.parametrize("change", [take_a_shard_away, put_others_in_its_place])
def test_a_run_does_not_go_on_with_other_samples_at_the_same_place(tmp_path, change):
    dataset = make_shards(tmp_path / "data", TASKS, sizes=((32, 32),))
    config = write_config(tmp_path / "c.yaml", dataset, train={"steps": 2}, log={"validate_every": 0})
    run = train(config, [], "auto", tmp_path / "run")
    before = (run / "metrics.jsonl").read_bytes()
    change(dataset)
    with pytest.raises(UserError, match=r"step-0000002: was trained on other samples than data\.shards"):
        train(config, ["train.steps=3"], "auto", run)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert (run / "checkpoints" / "step-0000002" / "COMPLETE").is_file()
