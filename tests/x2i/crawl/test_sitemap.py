"""Sitemaps of every common form are read within their limits; hostile ones cost no more than their size."""

from __future__ import annotations

import gzip
import time

import pytest

from x2i.crawl.sources.pages.sitemap import MAX_ENTRIES, SitemapEntry, is_sitemap, read_sitemap
from x2i.reasons import DroppedError, Reason

URL = "https://site.example/sitemap.xml"
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made by a tool --><?xml-stylesheet href="x.xsl"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
  xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">"""


def _urls(data: bytes) -> list[str]:
    return [entry.url for entry in read_sitemap(data, URL)]


def test_pages_come_with_the_images_named_for_them() -> None:
    body = """<url><loc> https://site.example/a?x=1&amp;y=2 </loc><image:image><image:loc>/1.jpg</image:loc>
      <image:caption>a <![CDATA[cat & dog]]></image:caption><image:license>https://cc.example/by</image:license>
      </image:image><image:image><image:loc>https://cdn.example/2.jpg</image:loc><image:title>two</image:title>
      </image:image><image:image/></url><url><loc>/b</loc></url></urlset>"""
    data = (HEAD + body).encode()
    assert is_sitemap(data)
    first, second = read_sitemap(data, URL)
    assert [(row.url, row.text, row.license) for row in first.images] == [
        ("https://site.example/1.jpg", "a cat & dog", "https://cc.example/by"),
        ("https://cdn.example/2.jpg", "two", ""),
    ]
    assert first.images[0].page_url == first.url == "https://site.example/a?x=1&y=2"
    assert (second.url, second.images, second.is_sitemap) == ("https://site.example/b", (), False)


def test_an_index_names_further_sitemaps_in_any_prefix() -> None:
    data = b"""<s:sitemapindex xmlns:s="http://www.sitemaps.org/schemas/sitemap/0.9"><s:sitemap><s:loc>a.xml.gz</s:loc>
      </s:sitemap></s:sitemapindex>"""
    assert is_sitemap(data)
    assert [(entry.url, entry.is_sitemap) for entry in read_sitemap(data, URL)] == [
        ("https://site.example/a.xml.gz", True)
    ]


def test_gzipped_and_plain_text_and_other_encodings() -> None:
    xml = f"{HEAD}<url><loc>/\u00fc</loc></url></urlset>"
    for data in (
        gzip.compress(xml.encode(), mtime=0),
        xml.encode("utf-16"),
        b"\xef\xbb\xbf" + xml.encode(),
        b"\n" + xml.encode(),
    ):
        assert is_sitemap(data)
        assert _urls(data) == ["https://site.example/\u00fc"]
    lines = b"https://site.example/a\r\n\r\nhttps://site.example/b \n"
    assert is_sitemap(lines, "text/plain")
    assert is_sitemap(gzip.compress(lines), "")
    assert _urls(lines) == ["https://site.example/a", "https://site.example/b"]


@pytest.mark.parametrize(
    "data", [b"", b"<html><urlset>", b"words\nhttps://a.example/", b"\x1f\x8bbroken", b"<rss/>", b"\n\n"]
)
def test_other_things_are_no_sitemaps(data: bytes) -> None:
    assert not is_sitemap(data, "text/plain")


def test_bare_ampersands_and_control_characters_are_survived() -> None:
    data = (HEAD + "<url><loc>/a?x=1&y=2&nbsp;\x0b</loc></url></urlset>").encode()
    assert _urls(data) == ["https://site.example/a?x=1&y=2&nbsp;"]


def test_markup_that_breaks_off_gives_what_stands_before() -> None:
    entries = read_sitemap((HEAD + "<url><loc>/a</loc></url><url><loc>/b</wrong>").encode(), URL)
    assert next(entries).url == "https://site.example/a"
    with pytest.raises(DroppedError) as caught:
        next(entries)
    assert caught.value.verdict.reason is Reason.BAD_ENCODING


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://10.0.0.1/x.dtd"> %a;]>',
    ],
)
def test_declared_entities_are_refused(doctype: str) -> None:
    data = f'{doctype}<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>/&a;</loc></url></urlset>'
    assert is_sitemap(data.encode())
    with pytest.raises(DroppedError, match="entities"):
        list(read_sitemap(data.encode(), URL))


def test_a_sitemap_is_read_up_to_its_limits_and_no_further() -> None:
    data = (HEAD + "".join(f"<url><loc>/{n}</loc></url>" for n in range(MAX_ENTRIES + 1)) + "</urlset>").encode()
    found: list[SitemapEntry] = []
    with pytest.raises(DroppedError, match="more than 50000 entries"):
        found.extend(read_sitemap(data, URL))
    assert len(found) == MAX_ENTRIES


def test_a_gzip_bomb_is_unpacked_no_further_than_a_sitemap_may_be() -> None:
    start = (HEAD + "<url><loc>/a</loc></url>").encode()
    packed = gzip.compress(start + b" " * (120 << 20), 1)
    started = time.process_time()
    found: list[SitemapEntry] = []
    with pytest.raises(DroppedError):
        found.extend(read_sitemap(packed, URL))
    assert [entry.url for entry in found] == ["https://site.example/a"]
    assert time.process_time() - started < 20


def test_deep_and_long_elements_cost_no_more_than_their_size() -> None:
    deep = (HEAD + "<a>" * 100_000).encode()
    long = (HEAD + "<url><loc>/" + "a" * 5_000_000 + "</loc></url><url><loc>/b</loc></url></urlset>").encode()
    started = time.process_time()
    with pytest.raises(DroppedError):
        list(read_sitemap(deep, URL))
    assert _urls(long) == ["https://site.example/b"]
    assert time.process_time() - started < 5
