from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.training_runs import TASKS, train, write_config
from tests.support.training_shards import make_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four tasks from eight photographs, 32 pixels a side."""
    return make_shards(tmp_path_factory.mktemp("shards"), TASKS, sizes=((32, 32),))


@pytest.fixture(scope="session")
def config(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps of three packs, for one rank or up to three."""
    return write_config(
        tmp_path_factory.mktemp("config") / "run.yaml",
        shards,
        train={"steps": 6, "packs_per_step": 3},
        log={"validate_every": 3, "sample_every": 6, "sample_held_out": 3},
    )


@pytest.fixture(scope="session")
def alone(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, trained on one rank."""
    run = tmp_path_factory.mktemp("runs") / "alone"
    result = train(config, run)
    assert result.returncode == 0, result.stderr
    return run
