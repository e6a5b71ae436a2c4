"""What one optimizer step does to a network, and when it refuses to."""

from __future__ import annotations

import copy
import itertools
import math
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.sample import ImageReader
from omnigen.train import trainer as trainer_module
from omnigen.train.config import load_config
from omnigen.train.objective import count_tokens, prepare_pack, sample_generator, sample_losses
from omnigen.train.prepare import prepare_step
from omnigen.train.setup import assemble
from omnigen.train.trainer import Event, Trainer
from tests.support.in_process_training import CPU, first_step, go_on, take_step, training, wake
from tests.support.training_runs import write_config
from x2i.errors import RunError
from x2i.store.shards import find_shards

QUIET = {"validate_every": 0, "validation_samples": 1}


@pytest.fixture(scope="module")
def small(shards, tmp_path_factory) -> Path:
    """A run of a few steps, none of whose samples are held out."""
    return write_config(
        tmp_path_factory.mktemp("config") / "run.yaml",
        shards,
        data={"validation_fraction": 0.0},
        train={"steps": 6},
        log=QUIET,
        checkpoint={"every": 2, "background": False},
    )


def gradient_norm(trainer: Trainer) -> float:
    """Of the gradients that the last step left behind."""
    return math.sqrt(sum(float(p.grad.double().square().sum()) for p in trainer.setup.trained if p.grad is not None))


def test_a_step_of_unequal_packs_has_the_gradient_of_all_their_samples_in_one_pack(small, tmp_path):
    with training(small, tmp_path, "train.packs_per_step=2", "train.clip=1000000.0") as trainer:
        wake(trainer)
        parts, model = trainer.setup.phases[0], trainer.setup.model
        loaded = first_step(trainer, parts)
        tokens = [count_tokens([pack]) for pack in prepare_step(loaded, trainer.setup, parts).packs]
        assert tokens[0] != tokens[1], "with equal packs, means of each would do"

        planned_samples = loaded.scheduled.samples
        whole = prepare_pack(
            load_pack(planned_samples, ImageReader(32)), trainer.setup.codec, parts.phase.train, CPU.device
        )
        loss = sample_losses(model, whole).weighted_S.sum() / sum(tokens)
        expected = torch.autograd.grad(loss, trainer.setup.trained)

        take_step(trainer, loaded, parts)
        found = [parameter.grad for parameter in trainer.setup.trained]
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)
        assert gradient_norm(trainer) > 0.01


def test_gradients_are_clipped_and_their_norm_is_told_as_it_was_before(small, tmp_path):
    told, left = {}, {}
    for clip in (0.001, 1000.0):
        with training(small, tmp_path / str(clip), f"train.clip={clip}") as trainer:
            happened = go_on(trainer.train(), lambda event: event.kind == "metrics")
            told[clip], left[clip] = happened[-1].values["grad_norm"], gradient_norm(trainer)
    assert told[0.001] == told[1000.0] > 0.1
    assert left[0.001] == pytest.approx(0.001, rel=1e-3)
    assert left[1000.0] == pytest.approx(told[1000.0], rel=1e-5)


def test_the_optimizer_steps_at_the_rate_of_the_schedule_which_begins_anew_with_every_stage(shards, tmp_path):
    phases = [{"steps": 6, "lr": 0.003, "warmup": 2, "schedule": "cosine"}, {"steps": 3, "lr": 0.02, "warmup": 4}]
    config = write_config(tmp_path / "c.yaml", shards, phases, data={"validation_fraction": 0.0}, log=QUIET)
    with training(config, tmp_path / "run") as trainer:
        used: list[set[float]] = []
        trainer.optimizer.register_step_pre_hook(
            lambda optimizer, *_: used.append({group["lr"] for group in optimizer.param_groups})
        )
        told = [event.values["lr"] for event in go_on(trainer.train()) if event.kind == "metrics"]
    first = [0.0015, 0.003, 0.003, 0.002325, 0.000975, 0.0003]  # the cosine ends at a tenth
    assert [len(rates) for rates in used] == [1] * 9, "all groups have the same"
    assert [max(rates) for rates in used] == pytest.approx([*first, 0.005, 0.01, 0.015])
    assert told == pytest.approx([max(rates) for rates in used])


def test_a_line_of_the_log_is_the_mean_over_the_target_tokens_of_its_interval(small, tmp_path):
    lines = {}
    for every in (1, 3):
        with training(small, tmp_path / str(every), f"log.every={every}", "train.pack_tokens=300") as trainer:
            lines[every] = [event.values for event in go_on(trainer.train()) if event.kind == "metrics"]
    assert len(lines[3]) == 2
    for number, line in enumerate(lines[3]):
        steps, before = lines[1][3 * number : 3 * number + 3], lines[1][3 * number - 1] if number else None
        totals = [before["target_tokens"] if before else 0, *(step["target_tokens"] for step in steps)]
        tokens = [after - till for till, after in itertools.pairwise(totals)]
        assert len(set(tokens)) > 1, "with equal steps, their mean would do"
        loss = sum(step["loss"] * count for step, count in zip(steps, tokens)) / sum(tokens)
        assert line["loss"] == pytest.approx(loss)
        assert line["fill"] == pytest.approx(sum(step["fill"] for step in steps) / 3)
        assert line["grad_norm"] == steps[-1]["grad_norm"]
        assert [line[name] for name in ("samples", "tokens")] == [steps[-1][name] for name in ("samples", "tokens")]


def test_weights_decay_as_configured_and_vectors_do_not(small, tmp_path):
    with training(small, tmp_path, "train.weight_decay=0.25") as trainer:
        decay = {id(p): group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
        assert len(decay) == len(trainer.setup.trained)
        assert {p.ndim >= 2 for p in trainer.setup.trained} == {True, False}
        assert all(decay[id(p)] == (0.25 if p.ndim >= 2 else 0.0) for p in trainer.setup.trained)


def test_timesteps_are_drawn_as_each_stage_says(shards, tmp_path):
    config = write_config(
        tmp_path / "c.yaml",
        shards,
        [{"steps": 2}, {"steps": 2, "timestep_shift": 0.5}],
        train={"timestep_mean": 0.7, "timestep_std": 1.8, "timestep_shift": 3.0},
    )
    with training(config, tmp_path / "run") as trainer:
        for parts, shift in zip(trainer.setup.phases, (3.0, 0.5), strict=True):
            loaded = first_step(trainer, parts)
            found = torch.cat([pack.timesteps_S for pack in prepare_step(loaded, trainer.setup, parts).packs]).tolist()
            names = [(planned.index, planned.ref.key) for pack in loaded.scheduled.packs for planned in pack]
            drawn = [
                torch.randn((), generator=sample_generator(parts.phase.train.seed, *name), dtype=torch.float64).item()
                for name in names
            ]
            plain = [1 / (1 + math.exp(-(0.7 + 1.8 * z))) for z in drawn]
            assert len(found) > 8
            assert found == pytest.approx([t / (t + shift * (1 - t)) for t in plain], rel=1e-5)


@pytest.mark.slow
def test_packs_are_loaded_in_a_process_of_their_own_if_asked(small, tmp_path):
    with training(small, tmp_path, "data.workers=1") as trainer:
        before = set(multiprocessing.active_children())
        steps = iter(trainer._loader(trainer.setup.phases[0]))
        next(steps)
        assert len(set(multiprocessing.active_children()) - before) == 1


def keys_of(config: Path) -> set[str]:
    return {
        row["key"]
        for folder in load_config(config).data.shards
        for shard in find_shards(Path(folder))
        for row in shard.index().to_pylist()
    }


Weights = dict[str, torch.Tensor]


def trained_to_a_checkpoint(trainer: Trainer) -> tuple[Iterator[Event], Weights]:
    """Takes two steps and saves; returns what is still to come, and the weights that were saved."""
    life = trainer.train()
    go_on(life, lambda event: event.kind == "checkpoint")
    return life, copy.deepcopy(trainer.setup.model.state_dict())


def assert_refused_unharmed(life: Iterator[Event], trainer: Trainer, config: Path, saved: Weights) -> None:
    """Going on names samples of the third step, and keeps nothing of it: a resumed run has the weights of two steps."""
    with pytest.raises(RunError, match="step 3: .* not finite") as caught:
        go_on(life)
    assert any(key in str(caught.value) for key in keys_of(config))
    assert trainer.state.step == 2

    (checkpoint,) = trainer.checkpoints.complete()
    setup = assemble(load_config(config), CPU)
    again = Trainer(setup, trainer.run_folder)
    again.resume(checkpoint)
    assert again.state == trainer.state
    torch.testing.assert_close(dict(setup.model.state_dict()), dict(saved), rtol=0, atol=0)
    assert all(tensor.isfinite().all() for tensor in setup.average.average.values())


SEEN = pytest.mark.parametrize("every", [1, 10], ids=["read at once", "read when the next is begun"])


@SEEN
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_and_nothing_of_it_is_kept(small, tmp_path, value, every):
    with training(small, tmp_path, f"log.every={every}") as trainer:
        life, saved = trained_to_a_checkpoint(trainer)
        with torch.no_grad():
            trainer.setup.model.llm.norm.weight[0] = value
        assert_refused_unharmed(life, trainer, small, saved)


@SEEN
def test_a_gradient_that_is_not_finite_ends_the_run_and_nothing_of_it_is_kept(small, tmp_path, every):
    with training(small, tmp_path, f"log.every={every}") as trainer:
        life, saved = trained_to_a_checkpoint(trainer)
        trainer.setup.model.llm.norm.weight.register_hook(lambda gradient: gradient * float("inf"))
        assert_refused_unharmed(life, trainer, small, saved)


def test_a_step_is_read_when_the_next_is_begun_unless_something_needs_it(small, tmp_path, monkeypatch):
    with training(small, tmp_path, "train.steps=7", "log.every=5", "checkpoint.every=0") as trainer:
        order: list[str] = []

        def note(where: object, name: str) -> None:
            called = getattr(where, name)

            def noted(*arguments: object) -> object:
                order.append(name)
                return called(*arguments)

            monkeypatch.setattr(where, name, noted)

        note(trainer_module, "prepare_step")
        for name in ("_begin", "_read", "_after_step"):
            note(trainer, name)
        go_on(trainer.train())
    assert order == [
        *("prepare_step", "_begin", "prepare_step"),
        *("_begin", "_read", "prepare_step") * 4,
        *("_read", "_after_step"),  # a line of the log
        *("_begin", "prepare_step"),
        *("_begin", "_read"),  # there is none to prepare after the last
        *("_read", "_after_step"),
    ]


def test_a_rate_at_which_the_loss_explodes_ends_the_run_with_its_samples(small, tmp_path):
    explosive = ("train.lr=1e30", "train.warmup=0", "checkpoint.every=1")
    with training(small, tmp_path, *explosive) as trainer:
        with pytest.raises(RunError, match="not finite") as caught:
            go_on(trainer.train())
        assert any(key in str(caught.value) for key in keys_of(small))
        assert [path.name for path in trainer.checkpoints.complete()] == [f"step-{trainer.state.step:07d}"]
