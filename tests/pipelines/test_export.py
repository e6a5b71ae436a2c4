"""`x2i export` as typed: read by the libraries that others use, byte for byte, whatever kills it on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.command_line import file_sums, kill_when, typed
from tests.support.datasets import build_dataset
from tests.x2i.exporters.test_documents import require_croissant, require_valid
from x2i.store import Dataset
from x2i.store.reshard import source_shards

JSONL = ("--format", "omnigen-jsonl")
HF = ("--format", "hf", "--contact", "takedown@example.org", "--date", "2026-01-31")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("data") / "small", side=48).root


@pytest.fixture(scope="module")
def card_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf") / "card"
    assert typed("export", root, "--to", folder, *HF) == 0
    return folder


def test_every_line_says_what_its_sample_says_and_its_pictures_are_the_members(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert typed("export", root, "--to", out, *JSONL) == 0
    lines = [json.loads(line) for line in (out / "x2i.jsonl").read_text().splitlines()]
    samples = list(Dataset.open(root).samples())
    assert len(lines) == len(samples) == 22
    for line, (sample, images) in zip(lines, samples):
        assert list(line) == ["task_type", "instruction", "input_images", "output_image"]
        assert (line["task_type"], line["instruction"]) == (sample.task, sample.instruction)
        assert [(out / path).read_bytes() for path in (*line["input_images"], line["output_image"])] == images
    pictures = [path for path in (out / "images").rglob("*") if path.is_file()]
    assert len(pictures) == sum(len(images) for _, images in samples)


def test_the_lines_are_read_by_the_loader_that_omnigen_trains_with(root: Path, tmp_path: Path) -> None:
    import datasets

    assert typed("export", root, "--to", tmp_path / "out", *JSONL) == 0
    lines = str(tmp_path / "out/x2i.jsonl")
    table = datasets.load_dataset("json", data_files=lines, cache_dir=str(tmp_path / "cache"))["train"]
    assert len(table) == 22
    assert [len(paths) for paths in table["input_images"]].count(3) == 1


def test_hugging_face_opens_the_folder_whole_and_streaming(card_folder: Path, root: Path, tmp_path: Path) -> None:
    import datasets

    names = datasets.get_dataset_config_names(str(card_folder))
    assert set(names) == {shard.name.rsplit("-", 2)[0] for shard in source_shards(root)}
    for streaming in (False, True):
        options = {"split": "train", "streaming": streaming, "cache_dir": str(tmp_path / "cache")}
        found = list(datasets.load_dataset(str(card_folder), "deblur", **options))
        assert [sample["__key__"] for sample in found] == [f"deblur-00000-{n:05d}" for n in range(4)]
        assert found[0]["output.jpg"].size == tuple(found[0]["json"]["sizes"][1])
    by_default = datasets.load_dataset(str(card_folder), split="train", streaming=True)
    assert next(iter(by_default))["json"]["task"] == "text_to_image"


def test_the_card_is_one_that_the_hub_accepts(card_folder: Path) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(card_folder / "README.md")
    assert card.data.to_dict()["license"] == "other"
    assert len(card.data.to_dict()["configs"]) == 7
    for words in ("takedown@example.org", "| public domain | 22 |", "robots_disallowed 2", "| `deblur` | 1 | 4 |"):
        assert words in card.text


def test_croissant_names_every_tar_with_its_sum(card_folder: Path, tmp_path: Path) -> None:
    document = json.loads((card_folder / "croissant.json").read_bytes())
    require_croissant(document)
    require_valid(document, tmp_path)
    sums = {e["contentUrl"]: e["sha256"] for e in document["distribution"] if e["@type"] == "cr:FileObject"}
    tars = list((card_folder / "shards").glob("*.tar"))
    assert sums == {f"shards/{tar.name}": hashlib.sha256(tar.read_bytes()).hexdigest() for tar in tars}


def test_shards_are_copied_unchanged_and_a_part_of_one_keeps_its_members(
    card_folder: Path, root: Path, tmp_path: Path
) -> None:
    for path in (root / "shards").iterdir():
        assert (card_folder / "shards" / path.name).read_bytes() == path.read_bytes()
    assert typed("export", root, "--to", tmp_path / "part", *HF, "--limit", 2, "--task", "deblur") == 0
    assert typed("verify", tmp_path / "part", "--deep") == 0
    (shard,) = source_shards(tmp_path / "part")
    (whole,) = [shard for shard in source_shards(root) if shard.name == "deblur-1in-00000"]
    for row, full in zip(shard.index().to_pylist(), whole.index().to_pylist()[:2], strict=True):
        assert shard.image_data(row) == whole.image_data(full)
        assert shard.sample(row) == whole.sample(full)


def test_a_dry_run_writes_nothing_and_a_second_run_nothing_again(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert typed("export", root, "--to", out, *JSONL, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 22
    assert not out.exists()
    assert typed("export", root, "--to", out, *JSONL) == 0
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "x2i.jsonl"}
    capsys.readouterr()
    assert typed("export", root, "--to", out, *JSONL, "--json") == 0
    assert json.loads(capsys.readouterr().out)["done_before"] == 7
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_what_would_mix_or_overwrite_is_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert typed("export", root, "--to", out, *JSONL) == 0
    for options, words in (
        (HF, "holds an export of another kind"),
        ((*JSONL, "--limit", 1), "exported from other data or with other options"),
        ((*JSONL, "--task", "deblur"), "exported from other data or with other options"),
        ((*JSONL, "--task", "debblur"), "no samples of task debblur; there are: canny_to_image"),
    ):
        assert typed("export", root, "--to", out, *options) == 2
        assert words in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    assert typed("export", root, "--to", tmp_path / "mine", *JSONL) == 2
    assert "is not empty" in capsys.readouterr().err
    assert typed("export", root, "--to", tmp_path / "x", *HF, "--date", "31.1.2026") == 2


@pytest.mark.slow
@pytest.mark.parametrize("options", [JSONL, HF], ids=["jsonl", "hf"])
def test_killed_and_continued_it_writes_the_bytes_of_an_uninterrupted_run(
    root: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert typed("reshard", root, "--out", tmp_path / "one", "--shard-size", 1, "--executor", "inline") == 0
    assert typed("export", tmp_path / "one", "--to", tmp_path / "whole", *options) == 0
    out = tmp_path / "killed"
    for after in (2, 12):
        kill_when(lambda after=after: len(list(out.glob(".x2i-export/*.json"))) > after,
                  "export", tmp_path / "one", "--to", out, *options)  # fmt: skip
    assert 2 < len(list(out.glob(".x2i-export/*.json"))) <= 23
    assert typed("export", tmp_path / "one", "--to", out, *options) == 0
    kept = {name: digest for name, digest in file_sums(out).items() if ".tmp-" not in name}
    assert kept == file_sums(tmp_path / "whole")
