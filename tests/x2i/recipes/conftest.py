"""Fixtures: the dataset of photographs, whole or without columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import photos
from x2i.store import Dataset


@pytest.fixture(scope="session")
def photo_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every column and relation made. Tests read it only."""
    return photos.write_all(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def bare_dataset(tmp_path: Path) -> Dataset:
    """Images and nothing else; each test has its own."""
    return photos.write_photos(tmp_path / "bare")
