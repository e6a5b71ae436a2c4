from __future__ import annotations

from pathlib import Path

import pytest

from tests.omnigen_data.photographs import make_shards
from tests.omnigen_train.runs import TASKS, train, write_config


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
