"""The page of scores: what it says about a cut is what the selection does, and it shows the pictures beside the cut."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from tests.support.command_line import typed
from tests.support.stored_images import Given, store
from tests.x2i.inspect.test_gallery import CHROMIUM, Page, browse
from x2i.errors import UserError
from x2i.inspect.scores import read
from x2i.inspect.scores.page import write_scores_page
from x2i.inspect.scores.read import read_scores
from x2i.store import Dataset


def values(dataset: Dataset, field: str) -> dict[str, float]:
    table = dataset.column("quality")
    return dict(zip(table["key"].to_pylist(), table[field].to_pylist()))


def test_the_page_is_one_file_that_asks_nothing_of_the_network(dataset: Dataset, tmp_path: Path) -> None:
    write_scores_page(dataset, tmp_path / "scores.html")
    page = Page((tmp_path / "scores.html").read_text())
    for tag, attributes in page.elements:
        assert not (attributes.get("src") or attributes.get("href") or "").startswith(("http", "//")), tag
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert [tag for tag, _ in page.elements].count("svg") == len(read_scores(dataset).scores) >= 7


def test_every_numeric_field_of_a_score_is_there_and_hashes_and_other_columns_are_not(dataset: Dataset) -> None:
    names = [score.name for score in read_scores(dataset).scores]
    assert {"quality.min_side", "quality.sharpness", "quality.entropy"} <= set(names)
    assert "quality.phash" not in names
    assert all(name.startswith("quality.") for name in names)


def test_of_many_images_those_at_the_ends_of_each_score_are_shown(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "EVERY_PICTURE", 3)
    monkeypatch.setattr(read, "PICKED", 2)
    monkeypatch.setattr(read, "SAMPLED_IMAGES", 4)
    found = read_scores(dataset)
    assert (found.total, len(found.sample.keys)) == (7, 4)
    for place, score in enumerate(found.scores):
        shown = found.pictures.values_NS[:, place]
        every = np.float32(list(values(dataset, score.name.removeprefix("quality.")).values()))
        assert {np.float32(shown.min()), np.float32(shown.max())} == {every.min(), every.max()}, score.name


def test_a_dataset_without_scores_says_how_to_make_them(tmp_path: Path) -> None:
    dataset = store(tmp_path / "d", [Given(np.zeros((32, 32, 3), np.uint8))])
    with pytest.raises(UserError, match="no scores yet: run `x2i filter` first"):
        read_scores(dataset)


def test_filter_writes_it_after_scoring_and_not_on_a_dry_run(tmp_path: Path) -> None:
    dataset = store(tmp_path / "d", [Given(np.full((40, 40, 3), 40 * n, np.uint8)) for n in range(3)])
    words = ["filter", dataset.root, "--score", "flatness", "--executor", "inline", "--report", tmp_path / "s.html"]
    assert typed(*words, "--dry-run") == 0
    assert not (tmp_path / "s.html").exists()
    assert typed(*words) == 0
    assert "flatness.score" in (tmp_path / "s.html").read_text()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_shows_the_share_and_the_pictures_next_to_the_threshold(dataset: Dataset, tmp_path: Path) -> None:
    write_scores_page(dataset, tmp_path / "scores.html")
    exposure, sharpness = values(dataset, "exposure"), values(dataset, "sharpness")
    ranked = sorted(exposure, key=lambda key: exposure[key])
    at = (exposure[ranked[2]] + exposure[ranked[3]]) / 2
    cut = sorted(sharpness.values())[4]
    address = f"#{quote(f'quality.exposure>={at}&quality.sharpness<={cut:.6g}')}"
    shown = browse((tmp_path / "scores.html").as_uri() + address, tmp_path / "profile")
    kept = [key for key in exposure if exposure[key] >= at and sharpness[key] <= cut * (1 + 1e-6)]
    assert f"{round(100 * len(kept) / 7)}% kept, {len(kept)} images" in shown
    command = f'x2i select {dataset.root} "quality.sharpness &lt;= {cut:.6g}" "quality.exposure &gt;= {at}"'
    assert set(re.findall(r'"[^"]+"', command)) <= set(re.findall(r'"[^"]+"', shown))
    section = next(part for part in shown.split("<section") if "quality.exposure <small" in part)
    below, above = (re.findall(r'alt="([^"]+)"', part) for part in section.split("just above"))
    assert (below, above) == (ranked[:3], ranked[3:])
    assert "just below: cut" in section


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_markup_in_a_name_stays_text(dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.root, tmp_path / "<b>&d")
    write_scores_page(Dataset.open(tmp_path / "<b>&d"), tmp_path / "scores.html")
    shown = browse((tmp_path / "scores.html").as_uri() + "#quality.exposure>=0", tmp_path / "profile")
    assert "&lt;b&gt;&amp;d" in shown
    assert "<b>&" not in shown
