"""`x2i stats` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import typed
from tests.support.datasets import build_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=48).root


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def test_a_dataset_is_shown_with_bars_and_columns(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("stats", root, "--by", "host") == 0
    shown = capsys.readouterr().out
    for words in (
        "15 attempted, 7 kept (47%)",
        "http_client_error",
        "photos.example",
        "CC0-1.0",
        "22 samples",
        "few_shot",
    ):
        assert words in shown
    assert "█" in shown
    assert "longest side" in shown


def test_the_numbers_are_there_for_scripts_and_the_page_beside_them(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "stats.html"
    assert typed("stats", root, "--json", "--by", "task", "--html", page) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["images"]["kept"] == 7
    assert numbers["samples"]["rankings"]["task"]["groups"][0]["sums"]["samples"] == 4
    assert "By task" in page.read_text()


def test_mistakes_end_with_2_and_say_what_is_expected(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("stats", tmp_path / "nowhere") == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert typed("stats", root, "--by", "hots") == 2
    assert "expected one of host, format, license" in capsys.readouterr().err
