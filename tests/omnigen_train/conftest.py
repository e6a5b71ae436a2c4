from __future__ import annotations

from pathlib import Path

import pytest

from tests.omnigen_data.photographs import make_shards
from tests.omnigen_train.runs import TASKS


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four tasks from eight photographs, 32 pixels a side."""
    return make_shards(tmp_path_factory.mktemp("shards"), TASKS, sizes=((32, 32),))
