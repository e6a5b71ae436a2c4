"""`verify` reads what a dataset says about itself and what its stages planned, not only what they made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.support.toy_stage import SquareStage
from x2i.store import Dataset
from x2i.store.files.atomic import read_table, write_table
from x2i.store.verify.verify import Level, verify

PLAN, RECORD = "plans/square/00001.parquet", "plans/square.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    execute([SquareStage()], Dataset.create(tmp_path / "data"), RunOptions(executor=Executor.INLINE))
    return tmp_path / "data"


def found(root: Path, level: Level = Level.NORMAL) -> dict[str, str]:
    findings = verify(root, level).findings
    return {finding.file: finding.problem for finding in findings if not finding.file.startswith("columns/")}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


def other_rows(path: Path) -> None:
    rows = read_table(path)
    write_table(path, rows.take(list(range(rows.num_rows - 1, -1, -1))))


def test_whole_plans_have_no_findings(root):
    assert found(root) == found(root, Level.FAST) == {}


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (PLAN, Path.unlink, "missing"),
        (PLAN, flip, "not hold what was planned"),
        (PLAN, other_rows, "planned"),
        (PLAN, lambda path: path.write_bytes(b""), "0 bytes"),
        (RECORD, lambda path: path.write_bytes(path.read_bytes()[:-30]), "damaged plan record"),
        (RECORD, lambda path: path.write_text("[]"), "damaged plan record"),
        ("dataset.json", Path.unlink, "not a dataset"),
        ("dataset.json", lambda path: path.write_bytes(b""), "expected a JSON object"),
        ("dataset.json", lambda path: path.write_text('{"format_version": 99, "name": "x"}'), "format version 99"),
    ],
)
def test_damage_is_named(root: Path, file: str, damage: Callable[[Path], object], words: str):
    damage(root / file)
    assert set(found(root)) == {file}
    assert words in found(root)[file]


def test_the_fix_for_a_damaged_plan_mends_it(root):
    for file in (PLAN, RECORD):
        (root / file).write_bytes(b"rubbish")
        fixes = [finding.fix for finding in verify(root).findings if finding.file == file]
        assert fixes
        assert f"delete {RECORD} and run the same square command" in fixes[0]
        (root / RECORD).unlink()
        again = execute([SquareStage()], Dataset.open(root), RunOptions(executor=Executor.INLINE))[0]
        assert (again.done_before, again.ran, again.failed) == (4, 0, {})
        assert found(root) == {}
