from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnigen.data.order.packing import PackingState
from omnigen.train.config import OptimizationConfig, PhaseConfig, TrainingConfig, load_config
from omnigen.train.metrics import read_lines
from omnigen.train.phases import phase_at, require_same_past, run_phases
from omnigen.train.setup import assemble
from tests.support.in_process_training import CPU, go_on, training
from tests.support.training_runs import train, write_config
from tests.support.training_shards import NAMES, make_shards
from x2i.errors import UserError

THREE = (
    PhaseConfig(10, "small", max_side=64, lr=1e-3),
    PhaseConfig(20, max_side=128, pack_tokens=512, weights={"colorize": 1.0}),
    PhaseConfig(5, "last", packs_per_step=4),
)


def config(*phases: PhaseConfig) -> TrainingConfig:
    return TrainingConfig(train=OptimizationConfig(steps=7, lr=1e-4, pack_tokens=256), phases=phases)


def test_a_run_without_stages_is_one_stage():
    (only,) = run_phases(config())
    assert (only.first, only.last, only.train.steps, only.max_side) == (0, 7, 7, 256)
    assert only.train == config().train


def test_each_stage_has_its_own_settings_and_what_it_does_not_say_from_the_run():
    small, middle, last = run_phases(config(*THREE))
    assert [(s.first, s.last, s.name) for s in (small, middle, last)] == [
        (0, 10, "small"),
        (10, 30, "phase 2"),
        (30, 35, "last"),
    ]
    assert [s.max_side for s in (small, middle, last)] == [64, 128, 256]
    assert [s.train.lr for s in (small, middle, last)] == [1e-3, 1e-4, 1e-4]
    assert [s.tokens_per_step for s in (small, middle, last)] == [256, 512, 1024]
    assert (small.weights, middle.weights) == (None, {"colorize": 1.0})
    assert len({s.train.seed for s in (small, middle, last)}) == 3, "no phase meets the noise of another again"


def test_the_stage_of_a_step():
    phases = run_phases(config(*THREE))
    assert [phase_at(phases, step).index for step in (0, 9, 10, 29, 30, 34, 35, 99)] == [0, 0, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("now", "step", "allowed"),
    [
        (THREE, 12, True),
        ((THREE[0], PhaseConfig(40, max_side=128, pack_tokens=512, weights={"colorize": 1.0})), 12, True),
        ((*THREE[:2], PhaseConfig(50, lr=1.0)), 12, True),  # what has not begun is free
        ((THREE[0], PhaseConfig(20, max_side=96, pack_tokens=512, weights={"colorize": 1.0})), 12, False),
        ((PhaseConfig(11, "small", max_side=64, lr=1e-3), *THREE[1:]), 12, False),  # it is over
        ((PhaseConfig(11, "small", max_side=64, lr=1e-3), *THREE[1:]), 10, True),  # it could go on
        ((PhaseConfig(8, "small", max_side=64, lr=1e-3), *THREE[1:]), 9, False),  # shorter than what was done
        (THREE[:1], 12, False),
        (THREE[:1], 10, True),
    ],
)
def test_what_may_change_of_a_run_under_way(now, step, allowed):
    before, after = run_phases(config(*THREE)), run_phases(config(*now))
    if allowed:
        require_same_past(before, after, step)
    else:
        with pytest.raises(UserError, match="begun with other settings"):
            require_same_past(before, after, step)


STAGES = [
    {"name": "small", "steps": 4, "max_side": 16, "weights": {"text_to_image": 1, "colorize": 1}},
    {"name": "large", "steps": 5, "max_side": 32, "pack_tokens": 500, "lr": 0.001, "warmup": 0},
]


COUNTS = {"text_to_image": 248, "colorize": 120, "denoise": 56}
MIXTURES = (
    {"text_to_image": 0.317, "colorize": 0.611, "denoise": 0.072},
    None,  # as many as there are
    {"text_to_image": 0.0, "colorize": 0.499, "denoise": 0.501},
)
CRITICAL = {2: 3.841, 3: 5.991}
"""Chi-square of that many kinds at 5 percent."""


@pytest.mark.slow
def test_over_100k_draws_every_stage_has_the_task_frequencies_of_its_own_weights(tmp_path):
    for task, count in COUNTS.items():
        make_shards(tmp_path / "data", (task,), sizes=[(16 + n, 16) for n in range(count // len(NAMES))])
    phases = [{"steps": 2} | ({"weights": weights} if weights else {}) for weights in MIXTURES]
    path = write_config(tmp_path / "run.yaml", tmp_path / "data", phases, data={"validation_fraction": 0.0})
    setup = assemble(load_config(path), CPU)
    for parts, weights in zip(setup.phases, MIXTURES, strict=True):
        draws = parts.schedule.sequence
        tasks = np.array(draws.catalog.tasks)[draws.catalog.task_id]
        drawn = tasks[[draws.catalog_row(number) for number in range(100_000)]]
        shares = {task: share for task, share in (weights or COUNTS).items() if share}
        assert set(drawn) == set(shares)
        expected = np.array(list(shares.values())) / sum(shares.values()) * 100_000
        found = np.array([(drawn == task).sum() for task in shares])
        assert ((found - expected) ** 2 / expected).sum() < CRITICAL[len(shares)]
        assert min(found[list(shares).index(task)] / COUNTS[task] for task in shares) > 50, "many epochs of each"


def test_every_stage_begins_with_the_first_draws_of_its_own_order(shards, tmp_path):
    path = write_config(tmp_path / "run.yaml", shards, [{"steps": 3}, {"steps": 4, "max_side": 16}])
    with training(path, tmp_path / "run") as trainer:
        told = [event.values["tokens"] for event in go_on(trainer.train()) if event.kind == "metrics"]
        planned = []
        for parts in trainer.setup.phases:
            state = PackingState()
            for number in range(parts.phase.first, parts.phase.last):
                plan = parts.schedule.step(number, state)
                state = plan.state
                planned.append(plan.num_tokens)
    assert told == np.cumsum(planned).tolist()


@pytest.mark.slow
def test_every_stage_trains_its_mixture_at_its_size_and_rate(shards, tmp_path):
    path = write_config(tmp_path / "run.yaml", shards, log={"validate_every": 0, "sample_every": 100}, phases=STAGES)
    result = train(path, tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert "small: 4 steps at 16 px" in result.stdout
    metrics = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["phase"] for line in metrics] == [1] * 4 + [2] * 5
    small, large = metrics[:4], metrics[4:]
    assert {task for line in small for task in line["tasks"]} <= {"text_to_image", "colorize"}
    assert {task for line in large for task in line["tasks"]} >= {"denoise", "few_shot"}
    assert [line["lr"] for line in large] == [0.001] * 5
    assert [line["lr"] for line in small] == [0.0015, 0.003, 0.003, 0.003]  # warm-up of two steps
    assert all(0.9 < line["fill"] <= 1 for line in metrics), "the capacity is each phase's own"
    validation = read_lines(tmp_path / "run" / "validation.jsonl")
    assert [(line["step"], line["phase"]) for line in validation] == [(0, 1), (4, 1), (4, 2), (9, 2)]
    assert [("mean_predictor" in line) for line in validation] == [True, False, True, False]
    assert sorted(path.name for path in (tmp_path / "run" / "samples").iterdir()) == [
        "step-0000004.png",
        "step-0000009.png",
    ]


@pytest.mark.slow
def test_a_stage_can_be_appended_to_a_finished_run_and_one_that_is_over_cannot_change(shards, tmp_path):
    run = tmp_path / "run"
    first = train(write_config(tmp_path / "a.yaml", shards, phases=STAGES[:1]), run)
    assert first.returncode == 0, first.stderr
    second = train(write_config(tmp_path / "b.yaml", shards, phases=STAGES), run)
    assert second.returncode == 0, second.stderr
    assert "continuing from" in second.stdout
    whole = train(write_config(tmp_path / "c.yaml", shards, phases=STAGES), tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    for name in ("metrics.jsonl", "validation.jsonl"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    changed = [{**STAGES[0], "steps": 3}, STAGES[1]]
    refused = train(write_config(tmp_path / "d.yaml", shards, phases=changed), run)
    assert refused.returncode == 2
    assert "phases: small was begun with other settings" in refused.stderr


def test_a_stage_that_cannot_be_trained_is_refused_at_the_start(shards, tmp_path: Path):
    phases = [{"steps": 5}, {"name": "huge", "steps": 5, "max_side": 4096}]
    result = train(write_config(tmp_path / "run.yaml", shards, phases=phases), tmp_path / "run")
    assert result.returncode == 2
    assert "huge: data.max_side: found 4096, expected at most" in result.stderr
