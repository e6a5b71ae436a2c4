"""`x2i import` as typed: samples and images arrive whole, what is wrong is counted and named."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from pipelines.steps import stages_of
from tests.support.command_line import file_sums, kill_when, typed
from tests.support.datasets import build_dataset, photo_bytes
from tests.support.s3 import bucket  # noqa: F401  a fixture
from x2i.errors import UserError
from x2i.importers import IMPORTERS
from x2i.importers.base import Importer, ImportRecord, Makes, SourceImage, SourceSample
from x2i.importers.example import number_of, picture
from x2i.importers.locations import Location
from x2i.sample import placeholder
from x2i.store import Dataset
from x2i.store.commits import list_commits
from x2i.store.files.tar import list_members

INLINE = ("--executor", "inline")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    root = build_dataset(folder / "small", side=48).root
    assert typed("export", root, "--to", folder / "jsonl", "--format", "omnigen-jsonl") == 0
    return folder


@dataclass(frozen=True)
class Triples(Importer):
    """Three pictures and a sample that makes the last of the first: as images or as shards."""

    name: ClassVar[str] = "triples"
    title: ClassVar[str] = "Three pictures in a tar, a zip and a file"
    makes: ClassVar[tuple[Makes, ...]] = ("images", "shards")

    def records(self, path: Path) -> Iterator[ImportRecord]:
        member = list_members(path / "0.tar")[0]
        places = (Location("0.tar", member.name, member.offset, member.size), Location("1.zip", "1.jpg"))
        images = tuple(SourceImage(place, f"picture {n}") for n, place in enumerate((*places, Location("2.jpg"))))
        for line in range(1, len((path / "keys.txt").read_text().split()) + 1):
            sample = SourceSample(f"triple-{line}", "make", f"{placeholder(1)} as picture 2", images[:1], images[2])
            yield ImportRecord("keys.txt", line, images, sample)

    @classmethod
    def example(cls, folder: Path) -> Path:
        folder.mkdir()
        for number in range(3):
            (folder / f"{number}.jpg").write_bytes(picture(number))
        with tarfile.open(folder / "0.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            archive.add(folder / "0.jpg", "0.jpg")
        with zipfile.ZipFile(folder / "1.zip", "w") as zipped:
            zipped.write(folder / "1.jpg", "1.jpg")
        (folder / "keys.txt").write_text("a b")
        return folder


TRIPLES = f"{Triples.__module__}:Triples"


def imported(lines: Path, out: Path, *options: object) -> int:
    return typed("import", "x2i-jsonl", lines, "--out", out, *options, *INLINE)


def imported_images(source: Path | str, out: Path | str, *options: object) -> int:
    return typed("import", "hf-images", source, "--out", out, *options)


def picture_set(folder: Path, numbers: Iterable[int]) -> Path:
    """A Hugging Face image folder of the numbered example pictures; the caption of picture 3 is "picture 3"."""
    folder.mkdir(exist_ok=True)
    with (folder / "metadata.jsonl").open("a") as lines:
        for number in numbers:
            (folder / f"{number}.jpg").write_bytes(picture(number))
            lines.write(json.dumps({"file_name": f"{number}.jpg", "text": f"picture {number}"}) + "\n")
    return folder


def stored_words(root: Path | str) -> dict[str, int]:
    """Returns the caption of each stored image and which picture it is, in key order."""
    dataset = Dataset.open(root)
    keys = [row["key"] for row in dataset.images().to_pylist() if row["status"] == "ok"]
    return {record.text: number_of(data) for record, data in map(dataset.image, keys)}


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


def test_an_import_that_finds_no_image_fails_and_names_the_folder_and_the_option(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(published, tmp_path / "data", *INLINE) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"files were looked for in {tmp_path} (--images FOLDER names another)" in told
    assert "nothing was imported of 11 records" in told


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
    commits = out / "commits/import-shards-x2i_jsonl-x2i"
    for after in (1, 12):
        kill_when(lambda after=after: commits.is_dir() and len(list(commits.glob("*.json"))) >= after, *arguments, out)
    assert 1 <= len(list(commits.glob("*.json"))) <= 22
    assert typed(*arguments, out) == 0
    assert file_sums(out) == file_sums(tmp_path / "whole/out")


@pytest.mark.parametrize("name", IMPORTERS.names())
def test_the_example_of_every_importer_arrives_whole_and_alike_on_each_executor(name: str, tmp_path: Path) -> None:
    source = IMPORTERS.get(name).example(tmp_path)
    runs = {"inline": (), "processes": ("--workers", 2)}
    for executor, options in runs.items():
        out = tmp_path / executor / "data"
        size = "--shard-size" if IMPORTERS.get(name).makes[0] == "shards" else "--partition-size"
        assert typed("import", name, source, "--out", out, "--executor", executor, *options, size, 2) == 0
        assert typed("verify", out, "--deep") == 0
    assert file_sums(tmp_path / "inline/data") == file_sums(tmp_path / "processes/data")


def test_captions_arrive_verbatim_at_their_own_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = picture_set(tmp_path / "set", range(8))
    (source / "8.jpg").write_bytes(picture(8))
    with (source / "metadata.jsonl").open("a") as lines:
        lines.write(json.dumps({"file_name": "7.jpg", "text": "<sks>  picture\nseven"}) + "\n")
    assert imported_images(source, tmp_path / "data", "--partition-size", 3, *INLINE, "--json") == 0
    told = capsys.readouterr()
    assert stored_words(tmp_path / "data") == {
        **{f"picture {n}": n for n in range(8)},
        "<sks>  picture\nseven": 7,
        "": 8,
    }
    assert "images from 'file_name', captions from 'text'" in told.err
    assert "9 of 10 images have words" in told.err
    assert typed("caption", tmp_path / "data", *INLINE) == 0  # the store is one that annotations read


def test_jpegs_keep_their_compression_unless_they_are_shrunk(tmp_path: Path) -> None:
    source = picture_set(tmp_path / "set", range(2))
    assert imported_images(source, tmp_path / "kept", *INLINE) == 0
    for row in Dataset.open(tmp_path / "kept").images().to_pylist():
        record, data = Dataset.open(tmp_path / "kept").image(row["key"])
        assert (data, record.url) == (picture(int(row["text"][-1])), f"set/{row['text'][-1]}.jpg")
    assert imported_images(source, tmp_path / "small", "--max-side", 24, "--format", "png", *INLINE) == 0
    rows = Dataset.open(tmp_path / "small").images().to_pylist()
    assert [(row["width"], row["height"], row["format"]) for row in rows] == [(24, 16, "png")] * 2


def test_images_that_are_wrong_are_rows_of_the_index_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture_set(tmp_path / "set", range(2))
    (source / "0.jpg").write_bytes(picture(0)[:300])
    names = ["missing.jpg", "https://example.org/a.jpg", "../out.jpg"]
    with (source / "metadata.jsonl").open("a") as lines:
        lines.write("".join(json.dumps({"file_name": name, "text": "words"}) + "\n" for name in names) + "{\n")
    assert imported_images(source, tmp_path / "data", *INLINE, "--json") == 0
    told = capsys.readouterr()
    counts = json.loads(told.out)["stages"][0]["counts"]
    assert counts == {
        "ok": 1,
        "filtered": {"url_only": 1},
        "failed": {"bad_record": 1, "file_error": 2, "image_truncated": 1},
    }
    entries = [json.loads(line) for line in (tmp_path / "data/rejected/00000.jsonl").read_text().splitlines()]
    assert {entry["line"]: (entry["file"], entry["reason"]) for entry in entries} == {
        1: ("metadata.jsonl", "image_truncated"),
        3: ("metadata.jsonl", "file_error"),
        4: ("metadata.jsonl", "url_only"),
        5: ("metadata.jsonl", "file_error"),
        6: ("metadata.jsonl", "bad_record"),
    }
    assert Dataset.open(tmp_path / "data").images(["reason"])["reason"].null_count == 1
    assert str(source) in told.err
    assert "`x2i crawl` fetches them" in told.err
    assert typed("verify", tmp_path / "data", "--deep") == 0


def test_a_dataset_is_crawled_and_imported_into_and_crawled_again(tmp_path: Path) -> None:
    out = tmp_path / "data"
    folders = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(photo_bytes("rocket.jpg"))
        folders.append(tmp_path / name)
    assert typed("crawl", folders[0], "--out", out, *INLINE) == 0
    assert imported_images(picture_set(tmp_path / "set", range(3)), out, "--partition-size", 2, *INLINE) == 0
    assert imported_images(picture_set(tmp_path / "other", range(3, 5)), out, *INLINE) == 0
    assert typed("crawl", folders[1], "--out", out, *INLINE) == 0
    assert [(commit.stage, commit.partition) for commit in Dataset.open(out).image_commits()] == [
        ("crawl", "00000"),
        ("import-hf_images-set", "00001"),
        ("import-hf_images-set", "00002"),
        ("import-hf_images-other", "00003"),
        ("crawl-2", "00004"),
    ]
    assert stored_words(out).items() >= {f"picture {n}": n for n in range(5)}.items()
    picture_set(tmp_path / "set", [5])
    assert imported_images(tmp_path / "set", out, "--partition-size", 2, *INLINE) == 0
    assert Dataset.open(out).image_commits()[-1].partition == "00005"
    before = file_sums(out)
    for source in ("set", "other"):
        assert imported_images(tmp_path / source, out, *INLINE, *(("--partition-size", 2) * (source == "set"))) == 0
    assert typed("crawl", folders[0], "--out", out, *INLINE) == 0
    assert file_sums(out) == before
    assert typed("verify", out, "--deep") == 0


def test_a_source_that_has_grown_adds_partitions_and_touches_none(tmp_path: Path) -> None:
    source, out = picture_set(tmp_path / "set", range(5)), tmp_path / "data"
    options = ("--partition-size", 2, *INLINE)
    assert imported_images(source, out, *options) == 0
    before = {name: digest for name, digest in file_sums(out).items() if name.startswith("images/")}
    picture_set(source, range(5, 8))
    assert imported_images(source, out, *options) == 0
    after = file_sums(out)
    assert before.items() <= after.items()
    sizes = [commit.counts.ok for commit in Dataset.open(out).image_commits()]
    assert sizes == [2, 2, 1, 2, 1]
    assert stored_words(out) == {f"picture {n}": n for n in range(8)}
    picture_set(source, [8])
    assert imported_images(source, out, *options) == 0
    assert stored_words(out) == {f"picture {n}": n for n in range(9)}


def test_a_source_that_has_changed_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = picture_set(tmp_path / "set", range(4)), tmp_path / "data"
    assert imported_images(source, out, "--partition-size", 2, *INLINE) == 0
    (source / "3.jpg").write_bytes(picture(9, "png"))
    assert imported_images(source, out, "--partition-size", 2, *INLINE) == 2
    assert "partition 00001: input files" in capsys.readouterr().err
    assert imported_images(source, out, "--partition-size", 2, *INLINE, "--overwrite") == 0
    assert stored_words(out)["picture 3"] == 9


def test_what_was_taken_down_does_not_come_back_by_an_import(tmp_path: Path) -> None:
    source, out = picture_set(tmp_path / "set", range(4)), tmp_path / "data"
    assert imported_images(source, out, *INLINE) == 0
    words = ("takedown", out, "--key", "00000-00002", "--by", "a", "--reason", "asked")
    assert typed(*words) == 0
    assert sorted(stored_words(out).values()) == [0, 1, 3]
    assert imported_images(source, out, *INLINE) == 0
    assert imported_images(source, out, "--label", "again", *INLINE) == 0
    assert sorted(stored_words(out).values()) == [0, 1, 3]
    (commit,) = list_commits(out, "import-hf_images-again")
    assert commit.counts.filtered == {"taken_down": 1}
    assert "picture 2" not in str(Dataset.open(out).images().to_pylist())


def test_an_imported_image_is_taken_down_by_the_picture_itself(tmp_path: Path) -> None:
    source, out = picture_set(tmp_path / "set", range(4)), tmp_path / "data"
    shutil.copy(source / "2.jpg", tmp_path / "sent by its owner.JPG")
    assert imported_images(source, out, *INLINE) == 0
    signed = ("--by", "a", "--reason", "asked")
    assert typed("takedown", out, "--sha256", tmp_path / "sent by its owner.JPG", *signed) == 0
    assert sorted(stored_words(out).values()) == [0, 1, 3]
    assert imported_images(source, out, "--label", "again", *INLINE) == 0
    assert sorted(stored_words(out).values()) == [0, 1, 3]


def test_images_killed_and_continued_are_the_bytes_of_an_uninterrupted_run(tmp_path: Path) -> None:
    source = picture_set(tmp_path / "set", range(11))
    arguments = ("import", "hf-images", source, "--partition-size", 1, *INLINE, "--out")
    assert typed(*arguments, tmp_path / "whole/out") == 0
    out = tmp_path / "killed/out"
    commits = out / "commits/import-hf_images-set"
    assert kill_when(lambda: commits.is_dir() and len(list(commits.glob("*.json"))) >= 2, *arguments, out)
    assert 2 <= len(list(commits.glob("*.json"))) < 11
    assert typed(*arguments, out) == 0
    assert file_sums(out) == file_sums(tmp_path / "whole/out")


def test_an_importer_that_makes_both_is_asked_for_images_or_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Triples.example(tmp_path / "set")
    assert typed("import", TRIPLES, source, "--out", tmp_path / "images", *INLINE) == 0
    images = Dataset.open(tmp_path / "images").images()
    assert images["text"].to_pylist() == ["picture 0", "picture 1", "picture 2"] * 2
    assert images["url"].to_pylist()[:3] == ["set/0.tar/0.jpg", "set/1.zip/1.jpg", "set/2.jpg"]
    assert stored_words(tmp_path / "images") == {f"picture {n}": n for n in range(3)}
    out = tmp_path / "shards"
    shards = ("import", "--as", "shards", TRIPLES, source, "--out", out, *INLINE, "--shard-size")
    assert typed(*shards, 2) == 0
    samples = [(sample.key, list(map(number_of, images))) for sample, images in Dataset.open(out).samples()]
    assert samples == [("triple-1", [0, 2]), ("triple-2", [0, 2])]
    assert typed("import", "--as", "shards", "hf-images", source, "--out", out) == 2
    assert "makes images, not shards" in capsys.readouterr().err


def test_shards_of_a_source_that_has_grown_are_refused_and_others_are_numbered_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = Triples.example(tmp_path / "set"), tmp_path / "data"
    shards = ("import", "--as", "shards", TRIPLES, source, "--out", out, *INLINE)
    assert typed(*shards) == 0
    assert typed(*shards, "--label", "more") == 0
    assert [shard.name for shard in Dataset.open(out).shards()] == ["make-1in-00000", "make-1in-00001"]
    (source / "keys.txt").write_text("a b c")
    assert typed(*shards) == 2
    assert "make-1in-00000: the rows planned for it" in capsys.readouterr().err
    assert len(list(Dataset.open(out).samples())) == 4


def test_a_dataset_and_its_source_lie_on_a_store(bucket: str, tmp_path: Path) -> None:  # noqa: F811
    from x2i.store.files.remote import dataset_path

    picture_set(tmp_path / "set", range(3))
    source = dataset_path(f"{bucket}/set")
    for file in (tmp_path / "set").iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    assert imported_images(f"{bucket}/set", f"{bucket}/data", *INLINE) == 0
    assert stored_words(f"{bucket}/data") == {f"picture {n}": n for n in range(3)}


def test_a_failed_partition_ends_with_1(tmp_path: Path) -> None:
    source, out = picture_set(tmp_path / "set", range(2)), tmp_path / "data"
    (out / "images/00000.tar").mkdir(parents=True)
    assert imported_images(source, out, *INLINE) == 1


def test_an_import_is_a_step_of_a_manifest(tmp_path: Path) -> None:
    source = picture_set(tmp_path / "set", range(2))
    step = {"name": "hf-images", "path": str(source), "caption": "text", "max_side": 24}
    (stage,) = stages_of("import", step, "steps.0")
    assert (stage.name, stage.config()["caption"], stage.config()["max_side"]) == ("import-hf_images-set", "text", 24)
    mistakes = ({"capton": "x"}, "did you mean 'caption'"), ({"name": "hf-image"}, "did you mean 'hf-images'")
    for wrong, words in mistakes:
        with pytest.raises(UserError, match=words):
            stages_of("import", {**step, **wrong}, "steps.0")
    with pytest.raises(UserError, match="makes images, not shards"):
        stages_of("import", {**step, "as": "shards"}, "steps.0")
    with pytest.raises(UserError, match="expected name"):
        stages_of("import", {"path": "x"}, "steps.0")
