"""Images and pages inside web archives are found, read where they lie, and damage costs only what is damaged."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType

from tests.support.archives import HTML, JPEG, Archive
from tests.support.hostile_server import photograph
from x2i.crawl.http.outcome import FetchDropped
from x2i.crawl.locations import Location
from x2i.crawl.sources import kind_of, open_source, read_location
from x2i.crawl.sources.archives.warc import WarcSource
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import ArchiveOptions
from x2i.crawl.sources.row import SourceRow
from x2i.errors import UserError
from x2i.reasons import DroppedError, Reason

PHOTO = photograph()
BUDGET = 1 << 20


def plan(path: Path, **options: bool) -> tuple[list[SourceRow], PlanningNotes]:
    notes = PlanningNotes()
    return list(WarcSource(str(path), ArchiveOptions(**options)).rows(notes)), notes


def read(row: SourceRow, max_bytes: int = BUDGET) -> tuple[bytes, int]:
    assert row.location is not None
    found = read_location(row.location, max_bytes)
    return found.data, found.http_status


def refusal(row: SourceRow, max_bytes: int = BUDGET) -> FetchDropped:
    with pytest.raises(DroppedError) as caught:
        read(row, max_bytes)
    verdict = caught.value.verdict
    return verdict if isinstance(verdict, FetchDropped) else FetchDropped(verdict.reason, verdict.detail)


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_an_image_is_read_where_it_lies_whatever_its_http_encoding(tmp_path: Path, name: str) -> None:
    packed = gzip.compress(PHOTO)
    chunks = b"5\r\n" + PHOTO[:5] + b"\r\n%x\r\n" % len(PHOTO[5:]) + PHOTO[5:] + b"\r\n0\r\n\r\n"
    zipped, chunked = ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")
    with Archive(tmp_path / name) as archive:
        archive.answer("http://a.example/plain.jpg", PHOTO)
        archive.answer("http://a.example/gzip.jpg", packed, [JPEG, zipped])
        archive.answer("http://a.example/chunked.jpg", chunks, [JPEG, chunked])
        both = b"%x\r\n" % len(packed) + packed + b"\r\n0\r\n\r\n"
        archive.answer("http://a.example/both.jpg", both, [JPEG, chunked, zipped])
        archive.answer("http://a.example/decoded-already.jpg", PHOTO, [JPEG, zipped, ("Content-Length", "9999999")])
        archive.answer("http://a.example/untyped?id=1#part", PHOTO, [("Content-Type", "application/octet-stream")])
        archive.answer("<http://a.example/brackets.jpg>", PHOTO, [])
        archive.answer("http://a.example/resource.jpg", PHOTO, kind="resource")
    rows, notes = plan(archive.path)
    paths = ["plain.jpg", "gzip.jpg", "chunked.jpg", "both.jpg", "decoded-already.jpg", "untyped?id=1", "brackets.jpg"]
    assert [row.url for row in rows] == [f"http://a.example/{path}" for path in (*paths, "resource.jpg")]
    assert [read(row) for row in rows] == [(PHOTO, 200)] * 7 + [(PHOTO, 0)]
    assert [row.location.offset for row in rows if row.location] == archive.starts
    assert rows[0].extra == {"archived": "2024-02-03T04:05:06Z"}
    assert not notes.failures


def test_what_is_no_whole_answer_with_an_image_is_passed_over(tmp_path: Path) -> None:
    with Archive(tmp_path / "a.warc.gz") as archive:
        archive.answer("http://a.example/404.jpg", PHOTO, status="404 Not Found")
        archive.answer("http://a.example/301.jpg", PHOTO, status="301 Moved")
        archive.answer("http://a.example/206.jpg", PHOTO[:99], status="206 Partial Content")
        archive.answer("http://a.example/again.jpg", b"", kind="revisit")
        archive.answer("http://a.example/a.css", b"p {}", [("Content-Type", "text/css")])
        archive.answer("http://a.example/a.html", b"<p>words</p>", [HTML])
        archive.metadata("http://a.example/meta.jpg", b"{}")
    rows, notes = plan(archive.path)
    assert (rows, notes.failures) == ([], [])


def test_an_archived_opt_out_is_obeyed_with_its_signal(tmp_path: Path) -> None:
    with Archive(tmp_path / "a.warc.gz") as archive:
        archive.answer("http://a.example/1.jpg", PHOTO, [JPEG, ("X-Robots-Tag", "other: x"), ("X-Robots-Tag", "noai")])
        archive.answer("http://a.example/2.jpg", PHOTO, [JPEG, ("TDM-Reservation", "1")])
    rows, _ = plan(archive.path)
    verdicts = [refusal(row) for row in rows]
    assert [(v.reason, v.opt_out, v.http_status) for v in verdicts] == [
        (Reason.OPT_OUT, "x-robots-tag: noai", 200),
        (Reason.OPT_OUT, "tdm-reservation: 1", 200),
    ]


def test_records_that_are_cut_or_lie_are_dropped_with_their_reason(tmp_path: Path) -> None:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n%s\r\n"
    with Archive(tmp_path / "a.warc.gz") as archive:
        archive.answer("http://a.example/cut.jpg", PHOTO, WARC_Truncated="length")
        archive.answer("http://a.example/empty.jpg", b"")
        archive.answer("http://a.example/short.jpg", PHOTO[:100], [JPEG, ("Content-Length", str(len(PHOTO)))])
        archive.answer("http://a.example/large.jpg", PHOTO + bytes(BUDGET))
        archive.answer("http://a.example/bomb.jpg", gzip.compress(bytes(9 << 20)), [JPEG, ("Content-Encoding", "gzip")])
        archive.answer("http://a.example/junk.jpg", b"\0junk" * 99, [JPEG, ("Content-Encoding", "gzip")])
        archive.answer("http://a.example/odd.jpg", b"\0junk" * 99, [JPEG, ("Content-Encoding", "lzma")])
        archive.raw(http % b"" + PHOTO, length=len(http) + len(PHOTO) + 5000)
    rows, _ = plan(archive.path)
    assert [refusal(row).reason for row in rows] == [
        Reason.BODY_TRUNCATED,
        Reason.BODY_EMPTY,
        Reason.BODY_TRUNCATED,
        Reason.BODY_TOO_LARGE,
        Reason.BODY_TOO_LARGE,
        Reason.BAD_ENCODING,
        Reason.BAD_ENCODING,
        Reason.BODY_TRUNCATED,
    ]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_a_damaged_record_ends_the_archive_and_is_noted(tmp_path: Path, name: str) -> None:
    with Archive(tmp_path / name) as archive:
        for number in range(9):
            archive.answer(f"http://a.example/{number}.jpg", photograph(shift=number))
    data = bytearray(archive.path.read_bytes())
    at = archive.starts[4] + (40 if name.endswith(".gz") else 0)
    data[at : at + 9] = b"\xff" * 9
    archive.path.write_bytes(data)
    rows, notes = plan(archive.path)
    assert [row.url[-5] for row in rows] == list("0123")
    assert all(read(row)[0] == photograph(shift=int(row.url[-5])) for row in rows)
    [(where, verdict)] = notes.failures
    assert verdict.reason is Reason.FILE_ERROR
    assert where == f"{archive.path.as_uri()}#{archive.starts[3]}"


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_an_archive_that_ends_early_keeps_what_came_before(tmp_path: Path, name: str) -> None:
    with Archive(tmp_path / name) as archive:
        for number in range(3):
            archive.answer(f"http://a.example/{number}.jpg", PHOTO)
    data = archive.path.read_bytes()
    archive.path.write_bytes(data[: archive.starts[2] + 900])
    rows, notes = plan(archive.path)
    assert [read(row)[0] for row in rows[:2]] == [PHOTO, PHOTO]
    assert [refusal(row).reason for row in rows[2:]] + [verdict.reason for _, verdict in notes.failures]
    archive.path.write_bytes(data[: archive.starts[2] + 30])
    rows, notes = plan(archive.path)
    assert [read(row)[0] for row in rows] == [PHOTO, PHOTO]
    assert len(notes.failures) == 1


def test_a_file_that_is_no_archive_is_noted_and_one_compressed_as_a_whole_refused(tmp_path: Path) -> None:
    junk = tmp_path / "junk.warc"
    junk.write_bytes(b"no archive" * 1000)
    assert [verdict.reason for _, verdict in plan(junk)[1].failures] == [Reason.FILE_ERROR]
    with Archive(tmp_path / "a.warc") as archive:
        for number in range(3):
            archive.answer(f"http://a.example/{number}.jpg", PHOTO)
    whole = tmp_path / "whole.warc.gz"
    whole.write_bytes(gzip.compress(archive.path.read_bytes()))
    with pytest.raises(UserError, match="compressed as a whole.*warcio recompress"):
        plan(whole)


def test_pages_of_the_archive_describe_its_images_wherever_they_stand(tmp_path: Path) -> None:
    page = b"<figure><img src=../1.jpg alt='a cat'><figcaption>Chelsea</figcaption></figure><img src=2.jpg alt=gone>"
    late = b"<img src='http://a.example/3.jpg' alt='a rocket'><img src='http://a.example/1.jpg' alt='another word'>"
    with Archive(tmp_path / "a.warc.gz") as archive:
        archive.answer("http://a.example/1.jpg", PHOTO)
        archive.answer("http://a.example/p/a.html", page, [HTML])
        archive.answer("http://a.example/3.jpg", PHOTO)
        archive.answer("http://b.example/", late, [("content-type", "Text/HTML; Charset=ISO-8859-1")])
    rows, notes = plan(archive.path)
    assert [(row.url, row.text, row.page_url) for row in rows] == [
        ("http://a.example/1.jpg", "a cat", "http://a.example/p/a.html"),
        ("http://a.example/3.jpg", "a rocket", "http://b.example/"),
    ]
    assert rows[0].extra == {"figcaption": "Chelsea", "archived": "2024-02-03T04:05:06Z"}
    assert notes.pages == 2
    linked, _ = plan(archive.path, warc_links=True)
    assert [(row.url, row.location is None) for row in linked] == [
        ("http://a.example/p/2.jpg", True),
        ("http://a.example/1.jpg", False),
        ("http://a.example/3.jpg", False),
    ]


def test_an_archived_page_that_opts_out_names_nothing_and_is_noted(tmp_path: Path) -> None:
    with Archive(tmp_path / "a.warc.gz") as archive:
        archive.answer("http://a.example/", b"<img src=1.jpg>", [HTML, ("X-Robots-Tag", "noai")])
        archive.answer("http://b.example/", b"<meta name=robots content=noimageai><img src=1.jpg>", [HTML])
        archive.answer("http://c.example/", b"<img src=1.jpg>", [HTML, ("Content-Length", "5000")])
    rows, notes = plan(archive.path, warc_links=True)
    assert rows == []
    reasons = [(where, verdict.reason) for where, verdict in notes.failures]
    assert reasons[:2] == [("http://a.example/", Reason.OPT_OUT), ("http://b.example/", Reason.OPT_OUT)]
    assert reasons[2:] == [("http://c.example/", Reason.BODY_TRUNCATED)]


def test_archives_written_by_fastwarc_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "f.warc.gz"
    with open(path, "wb") as stream:
        writer = GzipWriter(stream)
        for number in range(3):
            record = WarcRecord()
            record.init_headers(WarcRecordType.response)
            record.headers["WARC-Target-URI"] = f"http://f.example/{number}.jpg"
            record.headers["Content-Type"] = "application/http; msgtype=response"
            record.set_bytes_content(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + PHOTO)
            record.write(writer)
            writer.finish()
        writer.close()
    rows, notes = plan(path)
    assert [read(row) for row in rows] == [(PHOTO, 200)] * 3
    assert not notes.failures


def test_planning_a_large_archive_takes_little_memory(tmp_path: Path) -> None:
    body = bytes(40_000)
    with Archive(tmp_path / "a.warc") as archive:
        for number in range(1500):
            archive.answer(f"http://a.example/{number}.jpg", body)
    assert archive.path.stat().st_size > 60_000_000
    tracemalloc.start()
    count = sum(1 for _ in WarcSource(str(archive.path)).rows(PlanningNotes()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 1500
    assert peak < 4_000_000


def test_an_archive_is_told_by_its_name(tmp_path: Path) -> None:
    for name, kind in [("a.warc", "web archive"), ("b.WARC.GZ", "web archive"), ("c.warc.wat.gz", "WAT file")]:
        (tmp_path / name).write_bytes(b"")
        assert kind_of(str(tmp_path / name)).title == kind
    before = open_source(str(tmp_path / "a.warc")).digest()
    (tmp_path / "a.warc").write_bytes(b"more")
    assert open_source(str(tmp_path / "a.warc")).digest() != before


def test_a_record_that_is_not_there_any_more_is_dropped(tmp_path: Path) -> None:
    missing = Location("warc", (tmp_path / "gone.warc").as_uri(), 0, 100)
    assert refusal(SourceRow("http://a.example/", location=missing)).reason is Reason.FILE_ERROR
    (tmp_path / "empty.warc").write_bytes(b"")
    emptied = Location("warc", (tmp_path / "empty.warc").as_uri(), 0, 100)
    assert refusal(SourceRow("http://a.example/", location=emptied)).reason is Reason.BODY_TRUNCATED
    (tmp_path / "junk.warc").write_bytes(b"no archive" * 99)
    other = Location("warc", (tmp_path / "junk.warc").as_uri(), 0, 100)
    assert refusal(SourceRow("http://a.example/", location=other)).reason is Reason.FILE_ERROR


def test_a_body_is_read_within_the_budget_even_from_a_bomb_of_a_record(tmp_path: Path) -> None:
    with Archive(tmp_path / "a.warc.gz") as archive:
        archive.answer("http://a.example/bomb.jpg", PHOTO + bytes(64 << 20))
    assert archive.path.stat().st_size < BUDGET
    [row] = plan(archive.path)[0]
    tracemalloc.start()
    assert refusal(row).reason is Reason.BODY_TOO_LARGE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * BUDGET
