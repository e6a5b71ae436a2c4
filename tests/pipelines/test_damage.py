"""A dataset with a damaged or missing file: each command names the file and the way out, instead of a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import typed
from tests.support.datasets import build_dataset

INLINE = ("--executor", "inline")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=48).root


@pytest.mark.parametrize(
    ("file", "damage", "command"),
    [
        ("images/00000.parquet", "half", ("dedup", *INLINE)),
        ("images/00001.parquet", "half", ("stats",)),
        ("images/00000.parquet", "half", ("select", "quality.sharpness > 1")),
        ("images/00001.parquet", "lost", ("report",)),
        ("columns/captions/00000.parquet", "lost", ("materialize", *INLINE)),
        ("columns/captions/00001.parquet", "half", ("materialize", *INLINE)),
        ("columns/quality/00000.parquet", "no Parquet", ("materialize", *INLINE)),
        ("shards/deblur-1in-00000.parquet", "half", ("stats",)),
    ],
)
def test_the_damaged_file_and_the_way_out_are_named(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, damage: str, command: tuple[str, ...]
) -> None:
    root = tmp_path / "small"
    shutil.copytree(pristine, root)
    data = (root / file).read_bytes()
    if damage == "lost":
        (root / file).unlink()
    else:
        (root / file).write_bytes(data[: len(data) // 2] if damage == "half" else b"words")
    assert typed(command[0], root, *command[1:]) == 1
    said = capsys.readouterr().err
    assert file in said
    assert "x2i verify" in said
