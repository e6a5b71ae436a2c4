"""`verify --repair`: what can be made again is rebuilt or withdrawn, images and other people's files stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import file_sums, typed
from tests.support.datasets import build_dataset
from x2i.store.commits import read_commit
from x2i.store.verify.repair import Action, plan_repairs
from x2i.store.verify.verify import verify

INDEX = "shards/deblur-1in-00000.parquet"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=48).root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "small")
    return tmp_path / "small"


def lose(root: Path, file: str) -> None:
    (root / file).unlink()


def spoil(root: Path, file: str) -> None:
    data = bytearray((root / file).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (root / file).write_bytes(data)


def cut(root: Path, file: str) -> None:
    data = (root / file).read_bytes()
    (root / file).write_bytes(data[: len(data) // 2])


def sums(root: Path) -> dict[str, str]:
    return {name: digest for name, digest in file_sums(root).items() if not name.startswith("locks/")}


@pytest.mark.parametrize("damage", [lose, spoil, cut])
def test_an_index_is_rebuilt_from_its_shard_to_the_same_bytes(root: Path, damage: Callable[[Path, str], None]) -> None:
    before = sums(root)
    damage(root, INDEX)
    assert typed("verify", root, "--repair") == 0
    assert sums(root) == before


@pytest.mark.parametrize("damage", [lose, spoil, cut])
@pytest.mark.parametrize(
    "file", ["shards/deblur-1in-00000.tar", "columns/quality/00000.parquet", "relations/subject_pairs.parquet"]
)
def test_what_is_made_of_the_images_is_withdrawn_with_its_commit_and_nothing_else(
    root: Path, file: str, damage: Callable[[Path, str], None]
) -> None:
    before = sums(root)
    damage(root, file)
    assert typed("verify", root, "--repair") == 0
    gone = before.keys() - sums(root).keys()
    assert file in gone
    [record] = [name for name in gone if name.startswith("commits/")]
    stage, partition = record.removeprefix("commits/").removesuffix(".json").split("/")
    assert read_commit(root, stage, partition) is None
    assert gone - {record} == {file, file.replace(".tar", ".parquet")}
    assert {name: digest for name, digest in before.items() if name not in gone} == sums(root)


@pytest.mark.parametrize("damage", [lose, spoil, cut])
@pytest.mark.parametrize("file", ["images/00000.tar", "images/00000.parquet"])
def test_images_are_never_deleted(
    root: Path, capsys: pytest.CaptureFixture[str], file: str, damage: Callable[[Path, str], None]
) -> None:
    damage(root, file)
    before = sums(root)
    assert typed("verify", root, "--repair") == 1
    assert sums(root) == before
    assert f"left as it is: {file}" in capsys.readouterr().out


def test_a_damaged_commit_of_images_takes_no_image_with_it(root: Path) -> None:
    record = root / "commits/crawl/00000.json"
    record.write_text("{")
    before = sums(root)
    assert typed("verify", root, "--repair") == 1
    assert sums(root) == before


def test_a_damaged_commit_of_a_column_goes_with_its_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = root / "commits/quality/00000.json"
    record.write_text("{}")
    assert typed("verify", root, "--repair") == 0
    assert "run again: x2i filter" in capsys.readouterr().out
    assert not record.exists()
    assert not (root / "columns/quality/00000.parquet").exists()


def test_what_killed_runs_left_is_deleted_and_files_of_other_names_stay(root: Path) -> None:
    before = sums(root)
    left = ["images/00007.tar", "columns/quality/00003.parquet", "shards/deblur-1in-00009.tar"]
    left.append("shards/deblur-1in-00001.tar.tmp-12-ab")
    for name in (*left, "shards/notes.txt", "images/mine.tar"):
        (root / name).write_bytes(b"half")
    assert typed("verify", root, "--repair") == 1
    assert sums(root).keys() - before.keys() == {"shards/notes.txt", "images/mine.tar"}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lose(root, INDEX)
    spoil(root, "columns/quality/00000.parquet")
    before = sums(root)
    assert typed("verify", root, "--repair", "--dry-run") == 1
    said = capsys.readouterr().out
    assert f"index rebuilt from its shard: {INDEX}" in said
    assert "run again: x2i filter" in said
    assert sums(root) == before


def test_an_index_that_would_not_come_out_the_same_is_made_again_by_its_command(root: Path) -> None:
    lose(root, INDEX)
    spoil(root, "shards/deblur-1in-00000.tar")
    assert {one.action for one in plan_repairs(verify(root))} == {Action.WITHDRAW}


def test_foreign_shards_are_not_repaired(root: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/a.tar").write_bytes(b"half")
    assert typed("verify", tmp_path / "foreign", "--repair") == 2
