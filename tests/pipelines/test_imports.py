"""`x2i import x2i-jsonl` as typed: what is exported comes back, what is wrong is counted and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.support.command_line import file_sums, kill_when, typed
from tests.support.datasets import build_dataset, photo_bytes
from x2i.store import Dataset

INLINE = ("--executor", "inline")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    root = build_dataset(folder / "small", side=48).root
    assert typed("export", root, "--to", folder / "jsonl", "--format", "omnigen-jsonl") == 0
    return folder


def imported(lines: Path, out: Path, *options: object) -> int:
    return typed("import", "x2i-jsonl", lines, "--out", out, *options, *INLINE)


def test_export_import_export_gives_the_same_lines_and_pictures(exported: Path, tmp_path: Path) -> None:
    lines = exported / "jsonl/x2i.jsonl"
    assert imported(lines, tmp_path / "data") == 0
    assert typed("verify", tmp_path / "data", "--deep") == 0
    assert typed("export", tmp_path / "data", "--to", tmp_path / "again", "--format", "omnigen-jsonl") == 0
    assert (tmp_path / "again/x2i.jsonl").read_bytes() == lines.read_bytes()
    pictures = {name: digest for name, digest in file_sums(exported / "jsonl").items() if name.startswith("images/")}
    assert pictures == {n: d for n, d in file_sums(tmp_path / "again").items() if n.startswith("images/")}
    before = {sample.key: sample for sample, _ in Dataset.open(exported / "small").samples()}
    for sample, _ in Dataset.open(tmp_path / "data").samples():
        assert (sample.task, sample.instruction, sample.sizes) == (
            before[sample.key].task,
            before[sample.key].instruction,
            before[sample.key].sizes,
        )


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A JSONL with pictures, as they are found: some lines are good, the others each wrong in their own way."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "cat.png").write_bytes(photo_bytes("chelsea.png"))
    (pictures / "rocket.jpg").write_bytes(photo_bytes("rocket.jpg"))
    (pictures / "cut.jpg").write_bytes(photo_bytes("rocket.jpg")[:5000])
    (pictures / "words.png").write_text("no picture")
    Image.open(pictures / "rocket.jpg").save(pictures / "rocket.bmp")
    (tmp_path / "secret.png").write_bytes(photo_bytes("chelsea.png"))
    edit = {"task_type": "edit", "instruction": "<img><|image_1|></img> in red.", "input_images": ["cat.png"]}
    lines = [
        {"task_type": "text_to_iamge", "instruction": "A cat.", "input_images": [], "output_image": "cat.png"},
        {**edit, "output_image": "rocket.jpg"},
        {**edit, "output_image": "/share/author/rocket.jpg"},
        {**edit, "output_image": "rocket.bmp"},
        {**edit, "output_image": "missing.jpg"},
        {**edit, "output_image": "cut.jpg"},
        {**edit, "output_image": "words.png"},
        {**edit, "output_image": "../secret.png"},
        {**edit, "instruction": "no marker", "output_image": "rocket.jpg"},
        {**edit, "output_images": ["rocket.jpg"]},
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")
    return path


def test_every_line_that_gives_no_sample_is_counted_and_named(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    options = ("--images", tmp_path / "pictures", "--strip-prefix", "/share/author/", "--license", "CC0-1.0")
    assert imported(published, out, *options, "--json") == 0
    counts = json.loads(capsys.readouterr().out)["stages"][0]["counts"]
    assert counts["ok"] == 5
    assert counts["failed"] == {"bad_record": 2, "file_error": 2, "image_truncated": 1, "not_an_image": 1}
    rejected = [json.loads(line) for path in (out / "rejected").iterdir() for line in path.read_text().splitlines()]
    assert {entry["line"]: entry["reason"] for entry in rejected} == {
        5: "file_error",
        6: "image_truncated",
        7: "not_an_image",
        8: "file_error",
        9: "bad_record",
        11: "bad_record",
    }
    assert "leads outside" in next(entry["detail"] for entry in rejected if entry["line"] == 8)
    assert typed("verify", out, "--deep") == 0
    samples = {sample.recipe.parameters["line"]: (sample, images) for sample, images in Dataset.open(out).samples()}
    assert sorted(samples) == [1, 2, 3, 4, 10]
    sample, images = samples[2]
    assert images == [photo_bytes("chelsea.png"), photo_bytes("rocket.jpg")]
    assert sample.source.licenses == ("CC0-1.0", "CC0-1.0")
    assert samples[4][1][1].startswith(b"\x89PNG")


def test_a_missing_file_and_an_unknown_format_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(tmp_path / "nowhere.jsonl", tmp_path / "out") == 2
    assert "no such file" in capsys.readouterr().err
    assert typed("import", "x2i-json", tmp_path, "--out", tmp_path / "out", *INLINE) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_and_continued_it_writes_the_bytes_of_an_uninterrupted_run(exported: Path, tmp_path: Path) -> None:
    arguments = ("import", "x2i-jsonl", exported / "jsonl/x2i.jsonl", "--shard-size", 1, *INLINE, "--out")
    assert typed(*arguments, tmp_path / "whole/out") == 0
    out = tmp_path / "killed/out"
    commits = out / "commits/import-x2i-jsonl"
    for after in (1, 12):
        kill_when(lambda after=after: commits.is_dir() and len(list(commits.glob("*.json"))) >= after, *arguments, out)
    assert 1 <= len(list(commits.glob("*.json"))) <= 22
    assert typed(*arguments, out) == 0
    assert file_sums(out) == file_sums(tmp_path / "whole/out")
