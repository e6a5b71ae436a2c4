"""The guide to exporters, followed to the letter with a module outside the project."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.support.datasets import build_dataset
from tests.support.pages import commands, typed, write_files

PAGE = "extend/exporter.md"


def test_an_exporter_of_your_own(tmp_path: Path) -> None:
    dataset = build_dataset(tmp_path / "data", side=48)
    assert write_files(PAGE, tmp_path)
    (words,) = commands(PAGE)
    done = typed(words, tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "pairs/pairs.csv").open(newline="") as stream:
        rows = list(csv.reader(stream, delimiter=";"))
    samples = list(dataset.samples("deblur"))
    assert [row[0] for row in rows] == [sample.instruction for sample, _ in samples]
    assert [(tmp_path / "pairs" / row[1]).read_bytes() for row in rows] == [images[-1] for _, images in samples]
    refused = typed([*words[:-1], "separatr=;"], tmp_path)
    assert refused.returncode == 2
    assert "did you mean 'separator'?" in refused.stderr
