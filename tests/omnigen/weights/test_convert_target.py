"""Where `omnigen convert` can write is known before it writes, and a failure leaves nothing behind."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from omnigen.weights import load_model, save_model
from omnigen.weights.convert import convert
from omnigen.weights.options import Conversion
from tests.support.tiny_network import CONFIG, random_model
from x2i.errors import RunError, UserError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    save_model(tmp_path / "source", CONFIG, random_model().state_dict(), tokenizer="bytes", codec="dct:4")
    return tmp_path / "source"


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 100 kB: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(source: Path, out: Path, message: str) -> None:
    written: list[int] = []
    with pytest.raises(UserError, match=message):
        convert(source, out, Conversion("official"), on_bytes=lambda done, total: written.append(done))
    assert not written


@pytest.mark.parametrize("absolute", [True, False])
def test_the_folder_that_it_runs_in_is_not_replaced(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    refused(source, tmp_path / "empty" if absolute else Path(), "give a new folder in it")
    convert(source, Path("new"), Conversion("official"))
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["new"]


@pytest.mark.parametrize("target", ["empty", "nowhere"])
def test_a_symbolic_link_is_refused_before_anything_is_written(source: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(target)
    refused(source, tmp_path / "link", "link: a symbolic link.*give the folder itself")


@pytest.mark.parametrize("out", ["n" * 300, "n" * 300 + "/out", "n" * 250])
def test_a_name_that_is_too_long_is_refused(source: Path, tmp_path: Path, out: str) -> None:
    refused(source, tmp_path / out, "File name too long")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_empty_folder_is_filled(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    convert(source, tmp_path / "empty", Conversion("official"))
    assert load_model(tmp_path / "empty").description.config == CONFIG


@pytest.mark.parametrize("kept", [False, True])
def test_folders_made_for_a_conversion_that_fails_go_again(source: Path, tmp_path: Path, kept: bool) -> None:
    (tmp_path / "there").mkdir()
    out = tmp_path / "there" / "new" / "newer" / "out"
    if kept:
        out.parent.mkdir(parents=True)
    with small_files(), pytest.raises(RunError, match="File too large; nothing was written"):
        convert(source, out, Conversion("official"))
    assert out.parent.exists() == kept
    assert out.parent.parent.exists() == kept
    assert (tmp_path / "there").exists()
    assert not list((tmp_path / "there").rglob("out*"))
