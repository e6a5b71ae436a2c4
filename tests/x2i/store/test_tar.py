"""Tars: bytes that depend on contents alone, and a reader that names every way a tar can be broken or hostile."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from x2i.errors import UserError
from x2i.store.files.tar import HEADER_BYTES, list_members, member_header, read_range, survey_members, tar_shard

FILES = {"a": {"json": b"{}", "output.jpg": b"j" * 700}, "b": {"json": b"[1]", "output.jpg": b"k" * 512}}


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    return write(tmp_path / "good.tar")


def write(path: Path) -> Path:
    with tar_shard(path) as writer:
        for key, files in FILES.items():
            writer.add(key, files)
    return path


def with_member(path: Path, change: Callable[[tarfile.TarInfo], None], data: bytes = b"") -> Path:
    """Writes a tar of one plain member and one that `change` makes strange."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (("a.json", b"{}"), ("b.json", data)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name == "b.json":
                change(info)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_the_same_files_give_the_same_bytes_in_whatever_order_they_are_given(tar: Path, tmp_path: Path) -> None:
    with tar_shard(tmp_path / "again.tar") as writer:
        for key, files in FILES.items():
            writer.add(key, dict(reversed(files.items())))
    assert (tmp_path / "again.tar").read_bytes() == tar.read_bytes()


def test_members_carry_no_clock_and_no_person(tar: Path) -> None:
    with tarfile.open(tar) as archive:
        infos = archive.getmembers()
    assert {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) for i in infos} == {(0, 0, 0, "", "", 0o444)}


@pytest.mark.parametrize(
    ("name", "size"),
    [("a.json", 0), ("k" * 80 + ".input_1.jpg", 99_999), ("k" * 95 + ".json", 1), ("ü.jpg", 8**7), ("a", 8**11 - 1)],
)
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    assert member_header(name, size) == info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


@pytest.mark.parametrize(("name", "size"), [("k" * 300, 0), ("a.jpg", 8**11)])
def test_what_ustar_cannot_hold_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="too long|overflow"):
        member_header(name, size)


def test_the_sum_kept_while_writing_is_that_of_the_file(tmp_path: Path) -> None:
    with tar_shard(tmp_path / "t.tar") as writer:
        for key, files in FILES.items():
            writer.add(key, files)
    assert writer.sha256 == hashlib.sha256((tmp_path / "t.tar").read_bytes()).hexdigest()
    assert writer.bytes_written == (tmp_path / "t.tar").stat().st_size


def test_recorded_offsets_lead_to_the_bytes(tmp_path: Path) -> None:
    with tar_shard(tmp_path / "t.tar") as writer:
        members = [writer.add(key, files) for key, files in FILES.items()]
    for files, found in zip(FILES.values(), members):
        for suffix, data in files.items():
            assert read_range(tmp_path / "t.tar", found[suffix].offset, found[suffix].size) == data
    listed = list_members(tmp_path / "t.tar")
    assert listed == [found[suffix] for found in members for suffix in sorted(found)]
    assert [(member.key, member.suffix) for member in listed][:2] == [("a", "json"), ("a", "output.jpg")]


def test_an_empty_tar_has_no_members(tmp_path: Path) -> None:
    with tar_shard(tmp_path / "empty.tar"):
        pass
    assert list_members(tmp_path / "empty.tar") == []


def test_a_failed_writer_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError), tar_shard(tmp_path / "t.tar") as writer:
        writer.add("a", {**FILES["a"], "z": None})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


def test_every_truncation_that_loses_something_is_found(tar: Path, tmp_path: Path) -> None:
    whole = tar.read_bytes()
    last = list_members(tar)[-1]
    end = last.offset + -(-last.size // HEADER_BYTES) * HEADER_BYTES
    cut = tmp_path / "cut.tar"
    for length in [*range(0, end + 2 * HEADER_BYTES, 61), *range(0, end + 2 * HEADER_BYTES, HEADER_BYTES)]:
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"truncated|not a readable plain tar"):
            list_members(cut)
    cut.write_bytes(whole[: end + 2 * HEADER_BYTES])  # shorter padding, as other programs write it
    assert len(list_members(cut)) == 4


def test_every_damaged_byte_of_a_header_is_found(tar: Path, tmp_path: Path) -> None:
    whole = tar.read_bytes()
    flipped = tmp_path / "flipped.tar"
    second_header = list_members(tar)[1].offset - HEADER_BYTES
    for position in range(second_header, second_header + HEADER_BYTES, 7):
        data = bytearray(whole)
        data[position] ^= 0xFF
        flipped.write_bytes(data)
        with pytest.raises(UserError, match="damaged header"):
            list_members(flipped)


def test_bytes_behind_the_end_are_found(tar: Path) -> None:
    with open(tar, "ab") as stream:
        stream.write(b"\0" * 512 + b"hidden" + b"\0" * 506)
    with pytest.raises(UserError, match="foreign bytes"):
        list_members(tar)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.json", "a/../../x.json", "a\\..\\x.json"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    tar = with_member(tmp_path / "t.tar", lambda info: setattr(info, "name", name))
    with pytest.raises(UserError, match=r"absolute or '\.\.' name: refused"):
        list_members(tar)


@pytest.mark.parametrize("name", ["b.pkl", "b.PICKLE", "b.pth", "b.pt", "b.pkl.gz", "b.pyd", "b.so", "b.output.pyc"])
def test_a_member_that_can_carry_code_is_refused(tmp_path: Path, name: str) -> None:
    tar = with_member(tmp_path / "t.tar", lambda info: setattr(info, "name", name))
    with pytest.raises(UserError, match="can carry code"):
        list_members(tar)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_a_special_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "a.json"

    with pytest.raises(UserError, match="not a plain file"):
        list_members(with_member(tmp_path / "t.tar", change))


def test_a_compressed_tar_is_refused(tar: Path, tmp_path: Path) -> None:
    import gzip

    packed = tmp_path / "t.tar.gz"
    packed.write_bytes(gzip.compress(tar.read_bytes()))
    with pytest.raises(UserError, match="not a readable plain tar"):
        list_members(packed)


def test_a_negative_size_does_not_send_the_reader_round_in_circles(tmp_path: Path) -> None:
    tar = with_member(tmp_path / "t.tar", lambda info: None)
    data = bytearray(tar.read_bytes())
    header = data[1024:1536]
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # base-256, two's complement: -1024
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    data[1024:1536] = header
    tar.write_bytes(data)
    members, problems = survey_members(tar)
    assert [member.name for member in members] == ["a.json"]
    assert problems


def test_survey_names_every_problem_and_keeps_the_good_members(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("a.json", "../b.json", "c.pkl", "d.json"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    members, problems = survey_members(path)
    assert [member.name for member in members] == ["a.json", "d.json"]
    assert len(problems) == 2


def test_a_range_behind_the_end_is_refused(tar: Path) -> None:
    with pytest.raises(UserError, match="truncated"):
        read_range(tar, tar.stat().st_size - 10, 11)
