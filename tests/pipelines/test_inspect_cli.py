"""`x2i inspect`, `report` and `verify` as typed: what they print, write, and exit with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipelines.cli import main
from pipelines.commands.inspect import draw
from pipelines.commands.report import write_report
from tests.support.datasets import build_dataset
from x2i.errors import UserError
from x2i.store import Dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=64).root


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object) -> int:
    """Runs `x2i` with these arguments in this process; returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_a_dataset_is_summed_up(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", root) == 0
    shown = capsys.readouterr().out
    for words in (
        "15 attempted in 2 partitions",
        "7 ok",
        "timeout 2",
        "captions",
        "subject_pairs",
        "22 samples of 7 tasks",
    ):
        assert words in shown


def test_the_overview_is_there_for_scripts_too(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", root, "--json") == 0
    overview = json.loads(capsys.readouterr().out)
    assert overview["images"]["ok"] == 7
    assert overview["tasks"]["few_shot"]["samples"] == 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("shards/deblur-1in-00000.tar", ["deblur-00000-00001", "[1] was taken out of focus", "4 of 4 rows"]),
        ("images/00000.tar", ["00000-00004", "failed: http_client_error", "A tabby cat", "8 of 8 rows"]),
        ("columns/quality/00000.parquet", ["sharpness", "00000-00003", "4 of 4 rows"]),
        ("relations/subject_pairs.parquet", ["inlier_ratio", "1 of 1 row shown"]),
        ("shards/deblur-1in-00000.parquet", ["json_offset", "4 of 4 rows"]),
    ],
)
def test_every_kind_of_file_can_be_looked_into(
    root: Path, capsys: pytest.CaptureFixture[str], path: str, words: list[str]
) -> None:
    assert run("inspect", root / path) == 0
    shown = capsys.readouterr().out
    for word in words:
        assert word in shown


def test_rows_are_limited_and_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", root / "images/00000.tar", "--limit", 3, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (len(document["rows"]), document["total"]) == (3, 8)
    assert run("inspect", root, "--task", "deblur", "--json") == 0
    assert {row["task"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"deblur"}


@pytest.mark.parametrize("key", ["few_shot-00000-00000", "00000-00001", "00000-00005"])
def test_one_sample_or_image_is_shown_whole(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert run("inspect", root, "--key", key, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    if key.startswith("few"):
        assert document["sample"]["task"] == "few_shot"
        assert document["sources"][0]["columns"]["quality"][0]["sharpness"] > 0
    else:
        assert document["key"] == key
        assert run("inspect", root, "--key", key, "--sheet", tmp_path / "one.png") == 0
        shown = capsys.readouterr().out
        assert document["url"] in shown
        assert all(f"\n  {name} " in shown for name in (*document["columns"], *document["relations"]))
        assert all(sample in shown for sample in document["samples"][:3])
        assert Image.open(tmp_path / "one.png").width == 1600


def test_sheet_and_gallery_are_written(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", root, "--sheet", tmp_path / "s.png", "--html", tmp_path / "g", "--per-task", 1) == 0
    assert "contact sheet" in capsys.readouterr().out
    assert Image.open(tmp_path / "s.png").width == 1600
    assert "22 samples of 7 tasks; 7 here, 15 not shown" in (tmp_path / "g/index.html").read_text()


def test_the_builder_draws_the_same_sheet_as_the_command(root: Path, tmp_path: Path) -> None:
    run("inspect", root, "--sheet", tmp_path / "a.png", "--per-task", 2)
    draw(Dataset.open(root), sheet=tmp_path / "b.png", per_task=2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    draw(Dataset.open(root), gallery=tmp_path / "g")
    assert (tmp_path / "g/index.html").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "nowhere"],
        ["inspect", "{root}", "--key", "no-such-key"],
        ["inspect", "{root}", "--task", "no_such_task"],
        ["inspect", "{root}", "--sheet", "sheet.tiff"],
        ["inspect", "{root}", "--limit", "0"],
        ["report", "{root}/images"],
        ["report", "{root}", "--run", "{root}"],
        ["verify", "nowhere"],
        ["verify"],
    ],
)
def test_a_mistake_ends_with_status_2_and_no_traceback(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(*(argument.format(root=root) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert error
    assert "Traceback" not in error


def test_the_report_is_printed_and_written(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", root, "--html", tmp_path / "r.html") == 0
    assert "robots_disallowed 2" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    write_report(Dataset.open(root), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "r.html").read_bytes()
    assert run("report", root, "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"][0]["counts"]["ok"] == 7


def test_verify_ends_with_0_for_good_and_1_for_damage(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root, tmp_path / "d")
    assert run("verify", tmp_path / "d") == 0
    assert "all good" in capsys.readouterr().out
    shard = tmp_path / "d/shards/deblur-1in-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-20_000])
    assert run("verify", tmp_path / "d") == 1
    shown = capsys.readouterr().out
    assert "shards/deblur-1in-00000.tar" in shown
    assert "delete commits/materialize-deblur/deblur-1in-00000.json and run `x2i materialize` again" in shown
    assert run("verify", tmp_path / "d", "--fast", "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert not document["ok"]
    assert document["images_decoded"] == 0


def test_verify_as_a_step_of_a_build_stops_it(root: Path, tmp_path: Path) -> None:
    from rich.console import Console

    from pipelines.commands.verify import verify_dataset

    console = Console(quiet=True)
    verify_dataset(root, console)
    shutil.copytree(root, tmp_path / "d")
    (tmp_path / "d/images/00001.tar").unlink()
    with pytest.raises(UserError, match="1 finding,"):
        verify_dataset(tmp_path / "d", console)


@pytest.mark.parametrize("command", ["inspect", "report", "verify"])
def test_help_needs_no_heavy_library(command: str) -> None:
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'pyarrow', 'PIL', 'cv2', 'duckdb', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "x2i " in done.stdout


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_is_told_that_pictures_are_drawn_and_samples_planned(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if is_terminal else "0")
    monkeypatch.setenv("TERM", "xterm")
    assert run("inspect", root, "--sheet", tmp_path / "sheet.png", "--html", tmp_path / "gallery", "--limit", 2) == 0
    assert run("materialize", root, "--recipe", "deblur", "--dry-run", "--overwrite") == 0
    told = capsys.readouterr().err
    for words in ("drawing the contact sheet", "drawing the gallery", "planning materialize-deblur"):
        assert (words in told) == is_terminal, words
