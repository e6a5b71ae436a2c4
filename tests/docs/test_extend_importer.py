"""The guide to importers works as written, with code in a package outside of the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from tests.support.command_line import file_sums
from tests.support.pages import commands, typed, write_files
from x2i.importers.example import number_of
from x2i.store import Dataset

PAGE = "extend/importer.md"


def followed(folder: Path, executor: str) -> Dataset:
    """Does what the page says in `folder`, to the source that the importer's example makes."""
    folder.mkdir()
    write_files(PAGE, folder)
    code = "from pathlib import Path; from my_importers import Album; Album.example(Path('album'))"
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)
    for words in commands(PAGE):
        runs = ("--executor", executor, "--workers", "2", "--partition-size", "2") if words[1] == "import" else ()
        done = typed(words, folder, *runs)
        assert done.returncode == 0, done.stderr
    return Dataset.open(folder / "data")


def test_an_importer_of_your_own_works_inline_and_in_processes(tmp_path: Path) -> None:
    for executor in ("inline", "processes"):
        dataset = followed(tmp_path / executor, executor)
        rows = dataset.images().to_pylist()
        assert [row["reason"] for row in rows] == [None, None, None, None, "bad_record"]
        for row in rows[:4]:
            record, data = dataset.image(row["key"])
            assert record.text == f"picture {number_of(data)}"
            assert record.license == "CC-BY-4.0"
        assert (dataset.root / "rejected/00002.jsonl").exists()
    # The plan's record holds the times of the source's files, which were written twice.
    inline, processes = (file_sums(tmp_path / name / "data") for name in ("inline", "processes"))
    for sums in (inline, processes):
        del sums["plans/import-album-album.parquet"]
    assert inline == processes


@pytest.mark.parametrize("word", ["--split", "--partition-size", "descriptions.jsonl"])
def test_its_help_is_made_of_its_options(tmp_path: Path, word: str) -> None:
    write_files(PAGE, tmp_path)
    done = typed(["x2i", "import", "my_importers:Album", "--help"], tmp_path)
    assert done.returncode == 0
    assert word in done.stdout
