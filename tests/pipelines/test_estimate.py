"""`x2i plan` as typed: a table with its assumptions, quick, and without loading anything heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands.estimate import count
from tests.support import REPOSITORY
from tests.support.command_line import typed
from x2i.errors import UserError

HEAVY = ("numpy", "pyarrow", "duckdb", "ray", "torch", "cv2")


def test_the_table_tells_stages_totals_assumptions_and_origin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert typed("plan", "--images", "100M", "--cores", 128) == 0
    shown = capsys.readouterr().out
    for words in ("100,000,000 addresses, 60,000,000 images, 128 cores", "crawl", "  inpaint", "all"):
        assert words in shown
    assert "60% of the addresses become images" in shown
    assert "rates measured" in shown
    assert "split the dataset" in shown


def test_the_numbers_are_there_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("plan", "--images", "1M", "--task", "text_to_image", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["build"]["kept_images"] == 600_000
    assert document["total"]["storage"] > 0
    names = [stage["stage"] for stage in document["stages"]]
    assert [name for name in names if name.startswith("materialize-")] == ["materialize-text_to_image"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("250000", 250_000), ("100M", 100_000_000), ("2.5b", 2_500_000_000), ("10k", 10_000), ("1,000", 1000)],
)
def test_numbers_are_written_as_people_write_them(text: str, number: int) -> None:
    assert count(text) == number


@pytest.mark.parametrize("text", ["", "many", "-5", "0", "1e9", "10 M M"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--images .*expected a number such as"):
        count(text)


def test_mistakes_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("plan", "--images", "many") == 2
    assert typed("plan", "--images", "1M", "--task", "nonsense") == 2
    assert "there are: text_to_image" in capsys.readouterr().err
    assert typed("plan", "--images", "1M", "--rates", tmp_path / "none.yaml") == 2
    assert typed("plan", "--images", "1M", "--kept", "2") == 2


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from pipelines.cli import main\n"
        "try: main(['plan', '--images', '100M'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    wide = {**os.environ, "COLUMNS": "160"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, env=wide)
    assert done.stderr.strip() == "[]"
    assert "core hours" in done.stdout
