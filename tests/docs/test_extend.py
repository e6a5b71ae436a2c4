"""The guides to extending the project work as written, with code in a package outside of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.pages import commands, typed, write_files
from tests.support.photographs import photograph
from tests.support.stored_images import Given, store
from x2i.store import Dataset
from x2i.store.commits import list_commits

PICTURES = [
    Given(photograph("rocket.jpg"), alt="A tall rocket stands on its launch pad"),
    Given(photograph("coffee.png"), alt="Coffee on a wooden table"),
    Given(np.full((64, 96, 3), 128, np.uint8), alt="A gray field of nothing at all"),
]


def followed(page: str, folder: Path, executor: str) -> Dataset:
    """Does what the page says to the dataset `data` in `folder`."""
    write_files(page, folder)
    dataset = store(folder / "data", PICTURES)
    for words in commands(page):
        runs_a_stage = words[1] in ("filter", "caption", "embed", "annotate", "detect")
        done = typed(words, folder, *(("--executor", executor, "--workers", "2") if runs_a_stage else ()))
        assert done.returncode == 0, done.stderr
    return dataset


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_score_of_your_own(tmp_path, executor):
    dataset = followed("extend/score.md", tmp_path, executor)
    rocket, coffee, gray = (row["score"] for row in dataset.column("saturation").to_pylist())
    assert rocket > 10
    assert coffee > 10
    assert gray == 0


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_an_annotation_of_your_own(tmp_path, executor):
    dataset = followed("extend/annotation.md", tmp_path, executor)
    rows = dataset.column("edge_sketch").to_pylist()
    assert [row["words"] for row in rows] == [8, 5, 7]
    assert all(row["sketch"]["bytes"].startswith(b"\x89PNG") for row in rows)
    assert dataset.column("edge_sketch_small").num_rows == 3


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_backend_of_your_own(tmp_path, executor):
    dataset = followed("extend/backend.md", tmp_path, executor)
    rows = dataset.column("embeddings_tiny").to_pylist()
    assert {len(row["embedding"]) for row in rows} == {48}
    assert {(row["model"], row["revision"]) for row in rows} == {("my_models:TinyThumbnails", "1")}


def test_a_score_that_is_added_makes_nothing_stale(tmp_path):
    dataset = store(tmp_path / "data", PICTURES)
    assert typed(["x2i", "filter", "data"], tmp_path, "--executor", "inline").returncode == 0
    before = [commit.fingerprint for commit in list_commits(dataset.root, "quality")]
    write_files("extend/score.md", tmp_path)
    words = ["x2i", "filter", "data", "--score", "quality", "--score", "my_scores:Saturation"]
    done = typed(words, tmp_path, "--executor", "inline")
    assert done.returncode == 0, done.stderr
    assert [commit.fingerprint for commit in list_commits(dataset.root, "quality")] == before
