"""Folders as people have them: odd names, links, broken captions; what is not read is counted and told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.crawling import crawl, crawl_stage
from tests.support.hostile_server import photograph
from x2i.crawl.locations import Location
from x2i.crawl.sources import read_location
from x2i.crawl.sources.folder import FolderSource
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import SourceRow
from x2i.errors import UserError
from x2i.inspect.gallery.page import write_page
from x2i.inspect.sheet.samples import save_sheet
from x2i.reasons import DroppedError
from x2i.store import Dataset

PHOTO = photograph()


def _rows(folder: Path) -> tuple[list[SourceRow], PlanningNotes]:
    notes = PlanningNotes()
    return list(FolderSource(str(folder)).rows(notes)), notes


def _write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def test_any_file_name_that_a_disk_can_hold_is_read(tmp_path: Path) -> None:
    names = [
        "-x.jpg",
        "a b.jpg",
        "a#b.jpg",
        "a%41.jpg",
        "a?b=c.jpg",
        "new\nline.jpg",
        "\U0001f408.jpg",
        "n" * 250 + ".JPG",
    ]
    folder = _write(tmp_path / "p", dict.fromkeys(names, PHOTO))
    for raw in (b"latin-\xe9.jpg", b"caption-\xff.jpg"):
        Path(os.fsdecode(bytes(folder) + b"/" + raw)).write_bytes(PHOTO)
    rows, _ = _rows(folder)
    assert {row.name for row in rows} == {f"p/{name}" for name in (*names, "latin-\udce9.jpg", "caption-\udcff.jpg")}
    assert all(row.location is not None and read_location(row.location, 10**6).data == PHOTO for row in rows)
    records = crawl(tmp_path / "data", crawl_stage(sources=(str(folder),)))
    assert [str(record.status) for record in records] == ["ok"] * 10
    assert len({record.uid for record in records}) == 10


def test_files_come_in_the_order_of_their_paths_whatever_the_disk_says(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", dict.fromkeys(("b.jpg", "a/2.jpg", "a/10.jpg", "a.jpg", "c/d/e/f.HEIC"), PHOTO))
    assert [row.name for row in _rows(folder)[0]] == ["p/a/10.jpg", "p/a/2.jpg", "p/a.jpg", "p/b.jpg", "p/c/d/e/f.HEIC"]


def test_links_to_files_are_read_and_links_to_folders_are_counted(tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside", {"x.jpg": PHOTO})
    folder = _write(tmp_path / "p", {"a.jpg": PHOTO, "deep/b.jpg": PHOTO})
    os.symlink(outside / "x.jpg", folder / "link.jpg")
    os.symlink(folder, folder / "deep" / "loop")
    os.symlink(outside, folder / "away")
    os.symlink("nowhere.jpg", folder / "dangling.jpg")
    os.symlink("self.jpg", folder / "self.jpg")
    os.mkfifo(folder / "pipe.jpg")
    rows, notes = _rows(folder)
    assert [row.name for row in rows] == ["p/a.jpg", "p/deep/b.jpg", "p/link.jpg"]
    assert [Path(path).name for path, _ in notes.unread] == ["dangling.jpg", "pipe.jpg", "self.jpg"]
    assert "2 links to folders were not entered" in notes.summary()
    os.symlink(folder, tmp_path / "named")
    assert len(_rows(tmp_path / "named")[0]) == 3


def test_hidden_files_are_left_out_and_other_files_are_counted(tmp_path: Path) -> None:
    files = dict.fromkeys(("a.jpg", ".b.jpg", ".git/c.jpg", "noname", "d.mp4", "x/e.svg", "a.txt"), PHOTO)
    rows, notes = _rows(_write(tmp_path / "p", files))
    assert [row.name for row in rows] == ["p/a.jpg"]
    assert "3 files were skipped" in notes.summary()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"a.txt": "\ufeff two \n words "}, "two \n words"),
        ({"a.TXT": "caf\u00e9".encode("latin-1")}, "caf\u00e9"),
        ({"a.txt": "caf\u00e9".encode("utf-16")}, "caf\u00e9"),
        ({"a.jpg.txt": "of this file", "a.txt": "of its stem"}, "of this file"),
        ({"a.caption": "c"}, "c"),
        ({"a.jpg.json": '{"caption": ["one", "two"]}'}, "one"),
        ({"a.json": '"just words"'}, "just words"),
        ({"a.json": '{"text": "first", "text": "last", "score": NaN}'}, "last"),
        ({"a.json": '{"text": {"de": "y", "en": "x"}, "alt": 7}'}, "x"),
        ({"a.json": '{"text": {"id": 3}, "alt": 7}'}, "7"),
        ({"a.json": '["x", "y"]'}, "x"),
        ({"a.json": '{"text": "of json"}', "a.txt": ""}, "of json"),
        ({"a.txt": ""}, ""),
    ],
)
def test_captions_beside_an_image(tmp_path: Path, files: dict[str, bytes | str], text: str) -> None:
    folder = _write(tmp_path / "p", {"a.jpg": PHOTO, **files})
    [record] = crawl(tmp_path / "data", crawl_stage(sources=(str(folder),)))
    assert (record.text, str(record.status)) == (text, "ok")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("b.json", b"{", "Expecting"),
        ("b.json", b"[1]", "expected a JSON object, found list"),
        ("b.json", b"[" * 100_000, "nested too deep"),
        ("b.json", b'{"n": ' + b"9" * 5_000 + b"}", "digits"),
        ("b.txt", b"x" * (1 << 21), "more than 1048576 bytes"),
    ],
)
def test_a_caption_that_cannot_be_read_costs_only_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, why: str
) -> None:
    folder = _write(tmp_path / "p", {"a.jpg": PHOTO, "a.txt": "a cat", "b.jpg": photograph(shift=8), name: content})
    records = crawl(tmp_path / "data", crawl_stage(sources=(str(folder),)))
    assert [(record.text, str(record.status)) for record in records] == [("a cat", "ok"), ("", "ok")]
    told = capsys.readouterr().err
    assert "1 path cannot be read" in told
    assert name in told
    [(_, verdict)] = _rows(folder)[1].unread
    assert why in verdict.detail


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_is_forbidden_is_noted_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", {"a.jpg": PHOTO, "shut/b.jpg": PHOTO, "c.jpg": PHOTO, "c.txt": "x"})
    (folder / "shut").chmod(0)
    (folder / "c.txt").chmod(0)
    rows, notes = _rows(folder)
    (folder / "shut").chmod(0o700)
    assert [row.name for row in rows] == ["p/a.jpg", "p/c.jpg"]
    assert {Path(path).name for path, _ in notes.unread} == {"shut", "c.txt"}


def test_a_folder_without_images_says_what_it_holds_instead(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images .*1 file was skipped"):
        _rows(_write(tmp_path / "p", {"a.doc": "x"}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images"):
        _rows(tmp_path / "empty")


def test_a_digest_notices_captions_and_names(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", {"a.jpg": PHOTO, "a.txt": "one"})
    seen = {FolderSource(str(folder)).digest()}
    (folder / "a.txt").write_text("other")
    seen.add(FolderSource(str(folder)).digest())
    (folder / "a.jpg.json").write_text("{}")
    seen.add(FolderSource(str(folder)).digest())
    (folder / "a.jpg").rename(folder / "b.jpg")
    seen.add(FolderSource(str(folder)).digest())
    assert len(seen) == 4


def test_a_large_and_a_deep_folder_are_listed_in_bounded_memory(tmp_path: Path) -> None:
    for number in range(5_000):
        path = tmp_path / "p" / f"{number // 500:03}" / f"{number % 500:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    deep = tmp_path / "p" / "/".join(["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "z.jpg").touch()
    code = (  # in a process of its own: tracemalloc counts what other tests' threads still do
        "import sys, time, tracemalloc; from x2i.crawl.sources.notes import PlanningNotes; "
        "from x2i.crawl.sources.folder import FolderSource; tracemalloc.start(); "
        "count = sum(1 for _ in FolderSource(sys.argv[1]).rows(PlanningNotes())); "
        "print(count, tracemalloc.get_traced_memory()[1], time.process_time())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "p")]
    count, peak, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(count) == 5_001
    assert int(peak) < 4_000_000
    assert float(seconds) < 30


def test_a_table_may_name_images_by_file_urls_and_through_other_folders(tmp_path: Path) -> None:
    folder = _write(tmp_path / "my set", {"a b.jpg": PHOTO, "im/c.jpg": PHOTO})
    _write(folder, {"list.csv": f"image,caption\n{(folder / 'a b.jpg').as_uri()},one\nother/../im/c.jpg,two\n"})
    assert {row.name: row.text for row in _rows(folder)[0]} == {"my set/a b.jpg": "one", "my set/im/c.jpg": "two"}


def test_a_table_beside_a_folder_of_images_may_name_them_without_it(tmp_path: Path) -> None:
    table = "file,caption\na.jpg,one\nb.jpg,two\nc,three\n"
    folder = _write(tmp_path / "im", {"list.csv": table, "b.jpg": photograph(1)})
    _write(folder / "Images", {name: photograph(2) for name in ("a.jpg", "b.jpg", "c.jpg")})
    _write(folder / "other", {"a.jpg": photograph(3)})
    rows, _ = _rows(folder)
    texts = {row.name.partition("/")[2]: row.text for row in rows}
    assert texts == {
        "Images/a.jpg": "one",
        "Images/b.jpg": "",
        "Images/c.jpg": "three",
        "b.jpg": "two",
        "other/a.jpg": "",
    }


def test_a_location_of_a_kind_that_holds_no_images_is_a_loss(tmp_path: Path) -> None:
    with pytest.raises(DroppedError, match="holds no images"):
        read_location(Location("folder", str(tmp_path)), 1000)


def test_a_folder_of_shards_says_how_to_crawl_them(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", {"sub/00000.tar": b"", "notes.md": "x"})
    with pytest.raises(UserError, match=r"no images .* x2i crawl '.*/p/sub/\*\.tar'"):
        _rows(folder)


def test_what_x2i_drew_of_a_dataset_is_no_photograph_wherever_it_lies(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", {"a.png": PHOTO, "index.html": "<p>my page", "thumbs/b.jpg": PHOTO})
    save_sheet(Image.new("RGB", (64, 64)), folder / "look" / "kept.png")
    write_page(folder / "seen", "mine", "", [], [])
    _write(folder / "seen", {"thumbs/1.jpg": PHOTO, "images/1.jpg": PHOTO})
    rows, notes = _rows(folder)
    assert [row.name for row in rows] == ["p/a.png", "p/thumbs/b.jpg"]
    assert "2 contact sheets and galleries of x2i in it were skipped" in notes.summary()


def test_the_files_of_datasets_are_no_photographs(tmp_path: Path) -> None:
    folder = _write(
        tmp_path / "p", {"a.jpg": PHOTO, "sheet.png": PHOTO, "other/dataset.json": "[]", "other/b.jpg": PHOTO}
    )
    dataset = Dataset.create(folder / "data")
    for name in ("sheet.png", "gallery/images/1.jpg"):
        (dataset.root / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset.root / name).write_bytes(PHOTO)
    rows, notes = _rows(folder)
    assert [row.name for row in rows] == ["p/a.jpg", "p/other/b.jpg", "p/sheet.png"]
    assert "1 dataset of x2i in it was skipped" in notes.summary()
    (dataset.root / "mine.jpg").write_bytes(PHOTO)
    assert [row.name for row in _rows(dataset.root)[0]] == ["data/mine.jpg"]
