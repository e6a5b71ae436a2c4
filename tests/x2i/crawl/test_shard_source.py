"""WebDataset shards as a source: keys, captions and fields are kept, and no pixel is read while planning."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import webdataset

from tests.support.hostile_server import photograph
from x2i.crawl.sources import kind_of, open_source, read_location
from x2i.crawl.sources.archives.shards import ShardSource
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import SourceRow
from x2i.errors import UserError
from x2i.reasons import DroppedError, Reason

PHOTO = photograph()


def plan(path: Path) -> tuple[list[SourceRow], PlanningNotes]:
    notes = PlanningNotes()
    return list(ShardSource(str(path)).rows(notes)), notes


def read(row: SourceRow) -> bytes:
    assert row.location is not None
    return read_location(row.location, 1 << 20).data


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_samples_that_webdataset_wrote_keep_key_caption_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "train-0001.tar"
    fields = {"license": "CC0", "score": 0.5, "large": 1e400, "nested": {"a": [1, None]}}
    with webdataset.TarWriter(str(path)) as writer:
        writer.write({"__key__": "a/cat", "jpg": PHOTO, "txt": " a\n cat ", "json": fields, "cls": 3})
        writer.write({"__key__": "Dog 1", "png": photograph(format="PNG"), "json": {"alt": "a dog"}})
        writer.write({"__key__": "words", "txt": "no picture"})
        writer.write({"__key__": "pair", "input_1.jpg": PHOTO, "output.jpg": photograph(shift=9)})
    rows, notes = plan(path)
    assert [row.extra["key"] for row in rows] == ["a/cat", "Dog 1", "pair", "pair"]
    assert [row.text for row in rows] == ["a\n cat", "a dog", "", ""]
    assert [row.text_source for row in rows[:2]] == ["shard", "alt"]
    assert rows[0].license == "CC0"
    assert rows[0].extra == {"key": "a/cat", "score": 0.5, "large": None, "nested": {"a": [1, None]}}
    assert [row.extra.get("member") for row in rows[2:]] == ["input_1.jpg", "output.jpg"]
    assert [read(row) for row in rows] == [PHOTO, photograph(format="PNG"), PHOTO, photograph(shift=9)]
    assert rows[0].url == f"{path.as_uri()}#a/cat.jpg"
    assert len({row.name for row in rows}) == 4
    assert not notes.failures


def test_what_img2dataset_wrote_keeps_its_url_and_no_exif(tmp_path: Path) -> None:
    fields = {
        "caption": "a rocket",
        "url": "https://a.example/1.jpg",
        "key": "000000012",
        "status": "success",
        "error_message": None,
        "width": 96,
        "height": 96,
        "exif": '{"GPS GPSLatitude": "48"}',
        "sha256": "00",
    }
    members = [
        ("000000012.jpg", PHOTO),
        ("000000012.json", json.dumps(fields).encode()),
        ("000000012.txt", b"a rocket"),
    ]
    [row] = plan(write_tar(tmp_path / "00000.tar", members))[0]
    assert (row.url, row.text) == ("https://a.example/1.jpg", "a rocket")
    assert row.name == f"{tmp_path.name}/00000.tar/000000012.jpg@{len(PHOTO)}"
    kept = ("key", "status", "error_message", "width", "height", "sha256")
    assert row.extra == {name: fields[name] for name in kept}


def test_other_names_and_layouts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        photos = tmp_path / "photos"
        photos.mkdir()
        for name in ("IMG 1.JPEG", "caf\u00e9.jpg", ".hidden.jpg", "x" * 150 + ".jpg", "plain"):
            (photos / name).write_bytes(PHOTO)
        archive.add(photos, "./photos")
    rows, _ = plan(tmp_path / "a.tar")
    keys = {row.extra["key"] for row in rows}
    assert keys == {"photos/IMG 1", "photos/caf\u00e9", f"photos/{'x' * 150}"}
    assert all(read(row) == PHOTO for row in rows)


def test_broken_fields_are_noted_and_the_image_kept(tmp_path: Path) -> None:
    members = [("1.jpg", PHOTO), ("1.json", b"{broken"), ("2.jpg", PHOTO), ("2.json", b"[1]"), ("3.jpg", PHOTO)]
    members += [("3.json", b'{"caption": 5, "url": "javascript:x", "n": NaN}')]
    rows, notes = plan(write_tar(tmp_path / "a.tar", members))
    assert [row.extra for row in rows] == [{"key": "1"}, {"key": "2"}, {"key": "3", "n": None}]
    assert rows[2].url.startswith("file://")
    assert [where.rpartition("#")[2] for where, _ in notes.failures] == ["1.json", "2.json"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.pkl", "can carry code"), ("../a.jpg", "absolute or '..'"), ("/a.jpg", "absolute or '..'")],
)
def test_members_that_the_store_refuses_are_refused(tmp_path: Path, name: str, words: str) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.jpg", PHOTO), (name, b"x")])
    with pytest.raises(UserError, match=words):
        plan(path)


def test_a_link_in_a_shard_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("1.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(UserError, match="not a plain file"):
        plan(tmp_path / "a.tar")


def test_a_damaged_shard_gives_what_stands_before_the_damage(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [(f"{n}.jpg", PHOTO) for n in range(5)])
    data = path.read_bytes()
    step = len(data[: data.index(b"1.jpg")])
    path.write_bytes(data[: 3 * step + 700])
    rows, notes = plan(path)
    assert [read(row) for row in rows] == [PHOTO] * 3
    assert [verdict.reason for _, verdict in notes.failures] == [Reason.BODY_TRUNCATED]
    path.write_bytes(data[: 3 * step] + b"\xff" * 512 + data[3 * step + 512 :])
    rows, notes = plan(path)
    assert (len(rows), [verdict.reason for _, verdict in notes.failures]) == (3, [Reason.FILE_ERROR])
    path.write_bytes(b"no tar" * 1000)
    rows, notes = plan(path)
    assert (rows, [verdict.reason for _, verdict in notes.failures]) == ([], [Reason.FILE_ERROR])


def test_a_pattern_names_several_shards(tmp_path: Path) -> None:
    for number in (1, 0):
        write_tar(tmp_path / f"{number}.tar", [(f"{number}.jpg", PHOTO)])
    source = str(tmp_path / "*.tar")
    assert kind_of(source) is ShardSource
    assert [row.extra["key"] for row in plan(Path(source))[0]] == ["0", "1"]
    before = open_source(source).digest()
    write_tar(tmp_path / "2.tar", [("2.jpg", PHOTO)])
    assert open_source(source).digest() != before
    with pytest.raises(UserError, match="no file matches"):
        plan(tmp_path / "none*.tar")


def test_a_compressed_shard_is_refused_with_the_remedy(tmp_path: Path) -> None:
    for name in ("a.tar.gz", "b.tgz"):
        (tmp_path / name).write_bytes(b"\x1f\x8b")
        assert kind_of(str(tmp_path / name)) is ShardSource
        with pytest.raises(UserError, match="decompress it first"):
            plan(tmp_path / name)


def test_a_shard_cut_after_planning_drops_what_is_gone(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.jpg", PHOTO), ("2.jpg", PHOTO)])
    rows, _ = plan(path)
    os.truncate(path, len(PHOTO) + 2000)
    assert read(rows[0]) == PHOTO
    with pytest.raises(DroppedError) as caught:
        read(rows[1])
    assert caught.value.verdict.reason is Reason.BODY_TRUNCATED
    with pytest.raises(DroppedError) as caught:
        read_location(rows[0].location, 100)  # type: ignore[arg-type]
    assert caught.value.verdict.reason is Reason.BODY_TOO_LARGE


def _sparse_shard(path: Path, count: int, size: int) -> None:
    """Writes the headers of `count` images of `size` bytes with holes for their pixels."""
    with open(path, "wb") as stream:
        for number in range(count):
            info = tarfile.TarInfo(f"{number:06d}.jpg")
            info.size = size
            stream.write(info.tobuf(tarfile.USTAR_FORMAT))
            stream.seek(-(-size // 512) * 512, os.SEEK_CUR)
        stream.write(bytes(1024))


def test_planning_reads_headers_alone_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.tar"
    _sparse_shard(path, 3000, 4 << 20)
    assert path.stat().st_size > 10_000_000_000
    tracemalloc.start()
    before = _bytes_read()
    count = sum(1 for _ in ShardSource(str(path)).rows(PlanningNotes()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 3000
    assert peak < 4_000_000  # a kilobyte for each sample: its members may stand anywhere
    assert _bytes_read() - before < 100_000_000


def _bytes_read() -> int:
    """Returns the bytes that this process has asked the system for so far."""
    lines: dict[str, Any] = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"])
