"""Real gloo ranks under torchrun: who computes changes, what is computed does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnigen.train.metrics import read_lines
from tests.omnigen_train.runs import train
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


def test_a_run_stopped_on_two_ranks_goes_on_on_three(config, alone, tmp_path):
    run = tmp_path / "elastic"
    first = train(config, run, "--set", "train.steps=3", ranks=2)
    assert first.returncode == 0, first.stderr
    second = train(config, run, ranks=3)
    assert second.returncode == 0, second.stderr
    assert "continuing from" in second.stdout
    assert_equal_runs(run, alone)


def test_more_ranks_than_packs_are_refused(config, tmp_path):
    result = train(config, tmp_path / "many", "--set", "train.packs_per_step=1", ranks=2)
    assert result.returncode != 0
    assert "train.packs_per_step: found 1, expected at least 2" in result.stderr
