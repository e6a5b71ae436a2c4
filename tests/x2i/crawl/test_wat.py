"""Image links in WAT files become rows to fetch; broken records are noted and skipped."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from tests.support.archives import Archive
from x2i.crawl.sources.archives.wat import WatSource
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import SourceRow
from x2i.reasons import Reason


def plan(path: Path) -> tuple[list[SourceRow], PlanningNotes]:
    notes = PlanningNotes()
    return list(WatSource(str(path)).rows(notes)), notes


def test_image_links_come_with_alt_title_and_page(tmp_path: Path) -> None:
    links = [
        {"path": "IMG@/src", "url": "../1.jpg#x", "alt": " a\n cat ", "title": "Chelsea"},
        {"path": "A@/href", "url": "/2.jpg"},
        {"path": "IMG@/srcset", "url": "3.jpg 1x, 4.jpg 2x"},
        {"path": "IMG@/src", "url": "//cdn.example/5 6.jpg"},
        {"path": "IMG@/src", "url": "../1.jpg"},
        {"path": "IMG@/src", "url": "data:image/png;base64,xx"},
        {"path": "IMG@/src", "url": "http://["},
        {"path": "IMG@/src"},
        "no link",
    ]
    with Archive(tmp_path / "a.warc.wat.gz") as archive:
        archive.wat("http://a.example/p/page.html", links)  # type: ignore[arg-type]
        archive.wat("http://b.example/", [{"path": "IMG@/src", "url": "x.jpg"}], {"Base": "http://cdn.example/y/"})
    rows, notes = plan(archive.path)
    assert [(row.url, row.text, row.page_url, dict(row.extra)) for row in rows] == [
        ("http://a.example/1.jpg", "a cat", "http://a.example/p/page.html", {"title": "Chelsea"}),
        ("http://a.example/p/4.jpg", "", "http://a.example/p/page.html", {}),
        ("http://cdn.example/5%206.jpg", "", "http://a.example/p/page.html", {}),
        ("http://cdn.example/y/x.jpg", "", "http://b.example/", {}),
    ]
    assert all(row.location is None for row in rows)
    assert (notes.pages, notes.failures) == (2, [])


def test_the_picture_that_a_head_names_comes_after_those_on_the_page(tmp_path: Path) -> None:
    metas = [
        {"property": "og:title", "content": "A cat"},
        {"property": "OG:image", "content": "/og.jpg"},
        {"property": "og:image:alt", "content": "the cat"},
        {"name": "twitter:image", "content": "1.jpg"},
        {"property": "og:image"},
    ]
    with Archive(tmp_path / "a.warc.wat.gz") as archive:
        archive.wat("http://a.example/p", [{"path": "IMG@/src", "url": "1.jpg"}], {"Metas": metas})
    rows, _ = plan(archive.path)
    assert [(row.url, row.text) for row in rows] == [
        ("http://a.example/1.jpg", ""),
        ("http://a.example/og.jpg", "the cat"),
    ]


def test_pages_that_opt_out_are_noted(tmp_path: Path) -> None:
    link = [{"path": "IMG@/src", "url": "1.jpg"}]
    with Archive(tmp_path / "a.wat.gz") as archive:
        archive.wat("http://a.example/", link, **{"X-Robots-Tag": "noai"})
        archive.wat("http://b.example/", link, {"Metas": [{"name": "robots", "content": "noimageai"}]})
        archive.wat("http://c.example/", link, {"Metas": [{"property": "og:title"}, "odd"]})
    rows, notes = plan(archive.path)
    assert [row.url for row in rows] == ["http://c.example/1.jpg"]
    assert [(where, verdict.detail) for where, verdict in notes.failures] == [
        ("http://a.example/", "x-robots-tag: noai"),
        ("http://b.example/", "meta robots: noimageai"),
    ]


def test_broken_records_are_noted_and_the_rest_is_read(tmp_path: Path) -> None:
    with Archive(tmp_path / "a.wat") as archive:
        for body in (b"{broken", b"[]", b"{}", b'{"Envelope": 3}', b"[" * 100_000):
            archive.metadata("http://a.example/", body)
        archive.metadata("http://a.example/", b'{"Envelope": {"Payload-Metadata": []}}')
        archive.wat("http://c.example/", [{"path": "IMG@/src", "url": "1.jpg"}])
    rows, notes = plan(archive.path)
    assert [row.url for row in rows] == ["http://c.example/1.jpg"]
    assert [verdict.reason for _, verdict in notes.failures] == [Reason.FILE_ERROR] * 5
    assert [where for where, _ in notes.failures] == [f"{archive.path.as_uri()}#{at}" for at in archive.starts[:5]]


def test_a_long_file_is_read_in_little_memory(tmp_path: Path) -> None:
    with Archive(tmp_path / "a.wat.gz") as archive:
        for number in range(300):
            archive.wat(f"http://{number}.example/", [{"path": "IMG@/src", "url": f"{n}.jpg"} for n in range(20)])
    tracemalloc.start()
    assert sum(1 for _ in WatSource(str(archive.path)).rows(PlanningNotes())) == 6000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
