"""Sources are found in one registry, and a kind from outside works like the others, in worker processes too."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.hostile_server import photograph
from tests.support.pages import commands, typed, write_files
from x2i.crawl.sources import SOURCES, kind_of
from x2i.crawl.sources.folder import FolderSource
from x2i.errors import UserError
from x2i.options import option_fields
from x2i.store import Dataset

PAGE = "extend/source.md"


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_kind_says_what_it_is_and_what_it_can_be_told(name: str) -> None:
    kind = SOURCES.get(name)
    assert kind.title
    assert kind.looks_like
    assert all(field.option.help and not field.required for field in option_fields(kind.options_class))
    assert not kind.accepts("nothing-of-the-kind")


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_source_of_your_own(tmp_path: Path, executor: str) -> None:
    write_files(PAGE, tmp_path)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"a-cat-{number}.png", photograph(shift=number))
        archive.writestr("left-out.jpg", photograph())
    [words] = commands(PAGE)
    done = typed(words, tmp_path, "--executor", executor, "--workers", "2", "--partition-size", "2")
    assert done.returncode == 0, done.stderr
    rows = Dataset.open(tmp_path / "data").images().to_pylist()
    assert [(row["text"], row["status"]) for row in rows] == [(f"a cat {number}", "ok") for number in range(3)]
    again = typed(words, tmp_path, "--executor", executor, "--partition-size", "2")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("no_such_package.module:Class=x", "no module 'no_such_package'"),
        ("x2i.crawl.sources.folder:FolderSorce=x", "no class 'FolderSorce'"),
        ("x2i.crawl.nothing:Class=x", "no module 'x2i.crawl.nothing'"),
    ],
)
def test_a_kind_that_cannot_be_imported_is_named(source: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        kind_of(source)


def test_a_kind_can_be_named_by_its_import_path_whatever_the_source_looks_like(tmp_path: Path) -> None:
    assert kind_of(f"x2i.crawl.sources.folder:FolderSource={tmp_path}") is FolderSource


def test_an_unknown_option_of_a_kind_of_your_own_is_refused(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    words = ["x2i", "crawl", "my_sources:ZipSource=photos.zip", "--out", "data", "--set", "sufix=.png"]
    done = typed(words, tmp_path)
    assert done.returncode == 2
    assert "did you mean 'suffix'" in done.stderr


@pytest.mark.parametrize(
    ("name", "words"), [("a.JPG", "crawl its folder"), ("a.zip", "unpack it and crawl the folder")]
)
def test_a_file_that_is_no_source_says_what_to_do(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=words):
        kind_of(str(tmp_path / name))
