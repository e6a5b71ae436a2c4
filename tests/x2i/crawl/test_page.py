"""Pages are read as browsers read them: images, their texts, their largest file, links."""

from __future__ import annotations

import time

import pytest

from x2i.crawl.sources.pages.encoding import decode_html
from x2i.crawl.sources.pages.page import parse_page
from x2i.crawl.sources.pages.srcset import largest, parse_srcset

URL = "https://site.example/dir/page.html"


def _urls(markup: str, url: str = URL) -> list[str]:
    return [row.url for row in parse_page(markup.encode(), url).images]


def test_an_image_comes_with_alt_title_caption_and_context() -> None:
    markup = """<div><p>Chelsea is the cat of a developer and was photographed at home.</p>
      <figure><a href=big><img src="../cat.jpg?a=1&amp;b=2#frag" alt=" a  ginger\ncat " title="Chelsea"></a>
      <figcaption>Chelsea <b>the</b> cat</figcaption></figure></div>"""
    [row] = parse_page(markup.encode(), URL).images
    assert row.url == "https://site.example/cat.jpg?a=1&b=2"
    assert row.text == "a ginger cat"
    assert dict(row.extra) == {"title": "Chelsea", "figcaption": "Chelsea the cat"}
    assert "photographed at home" in row.context
    assert row.page_url == URL


def test_context_is_taken_from_beside_where_nothing_encloses() -> None:
    [row] = parse_page(b"<body><h2>Rocket</h2><img src=a.jpg><p>Launched at night.</p></body>", URL).images
    assert row.context == "Rocket Launched at night."


def test_scripts_are_no_context() -> None:
    [row] = parse_page(b"<div>Words<script>var x = 1</script><style>p{}</style><img src=a.jpg></div>", URL).images
    assert row.context == "Words"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<base href="https://cdn.example/x/"><img src=a.jpg>', ["https://cdn.example/x/a.jpg"]),
        ("<img src=//cdn.example/a.jpg>", ["https://cdn.example/a.jpg"]),
        ('<img src="a b.jpg">', ["https://site.example/dir/a%20b.jpg"]),
        ('<img src="a.jpg" srcset="b.jpg 2x, c.jpg 3x">', ["https://site.example/dir/c.jpg"]),
        ('<img src="a.jpg" srcset="b.jpg 640w, c.jpg 1280w, d.jpg 320w">', ["https://site.example/dir/c.jpg"]),
        ('<img srcset="a,b.jpg 1x,c.jpg 2x">', ["https://site.example/dir/c.jpg"]),
        (
            '<img data-src="real.jpg" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
            ["https://site.example/dir/real.jpg"],
        ),
        ('<img src="spinner.gif" data-src="real.jpg">', ["https://site.example/dir/real.jpg"]),
        (
            '<picture><source type="image/jxl" srcset="x.jxl 4000w"><source srcset="l.webp 2000w"><img></picture>',
            ["https://site.example/dir/l.webp"],
        ),
        ("<img src=a.jpg><img src=a.jpg><img src=b.jpg>", [f"https://site.example/dir/{n}.jpg" for n in "ab"]),
        ("<img><img src=''><img src='javascript:x()'><img src='data:image/png;base64,xx'><img src='http://['>", []),
        ("<img src='file:///etc/passwd'>", []),
        ("<p><div><img src=a.jpg alt='x><img src=b.jpg>'<table><tr><img src=c.jpg", None),
        ("<noscript><img src=a.jpg></noscript>", ["https://site.example/dir/a.jpg"]),
        ("<base href='data:,x'><img src=a.jpg>", ["https://site.example/dir/a.jpg"]),
        ("<base href=/x/><base href=/y/><img src=a.jpg>", ["https://site.example/x/a.jpg"]),
        ("<img src='img\\\\a.jpg?q=\\\\'>".replace("\\\\", "\\"), ["https://site.example/dir/img/a.jpg?q=\\"]),
        ("<img src=' \n//cdn.example/b\xfcro.jpg#x '>", ["https://cdn.example/b\xfcro.jpg"]),
        ("<img src='?'><img src='#top'><img src='page.html'>", []),
        (
            "<img src='{{photo}}'><img data-src='a_{width}x.jpg' src=b.jpg>",
            ["https://site.example/dir/b.jpg"],
        ),
        (
            "<img data-original=a.jpg src=x.gif><img data-lazy=b.jpg>",
            [f"https://site.example/dir/{n}.jpg" for n in "ab"],
        ),
        ("<img data-srcset='a.jpg 100w, b.jpg 200w' src='data:,'>", ["https://site.example/dir/b.jpg"]),
        (
            "<picture><source type=image/avif srcset='a.avif 900w'><source type=image/jp2 srcset='b.jp2 999w'>"
            "<img src=c.jpg></picture>",
            ["https://site.example/dir/a.avif"],
        ),
        (
            "<svg><image xlink:href=a.png /><image href=b.png /></svg>",
            [f"https://site.example/dir/{n}.png" for n in "ab"],
        ),
        (
            "<video poster=a.jpg></video><amp-img src=b.jpg></amp-img>",
            [f"https://site.example/dir/{n}.jpg" for n in "ab"],
        ),
        ("<object type=image/png data=a.png></object><object data=b.swf></object>", ["https://site.example/dir/a.png"]),
        ("<i style=\"background: url( 'a.jpg' )\"></i><i style='color:red'></i>", ["https://site.example/dir/a.jpg"]),
        ("<input type=image src=go.png>", []),
        ("<svg><style><script><img src=a.jpg></script></style></svg><img src=b.jpg>", None),
        ("<img src=http://[::1/a.jpg><img src=ftp://a/b.jpg>", []),
        (f"<img src={'a' * 10_000}.jpg>", []),
    ],
)
def test_addresses(markup: str, expected: list[str] | None) -> None:
    found = _urls(markup)
    assert found if expected is None else found == expected


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("<meta charset=utf-8>\u00dc".encode(), None),
        ("\u00dc".encode(), None),
        ("<meta charset='iso-8859-1'>\u00dc".encode("latin-1"), None),
        ("\u00dc".encode("cp1252"), None),
        ("\u00dc".encode("utf-16"), None),
        ("<p>\u00dc".encode("utf-16-le"), None),
        ("<p>\u00dc".encode("utf-16-be"), "utf-16"),
        ("\ufeff\u00dc".encode(), "iso-8859-1"),
        ("\u00dc".encode("cp1252"), "ISO-8859-1"),
        ("\u00dc".encode(), "iso-8859-1"),
        ("<meta http-equiv=content-type content='text/html; charset=windows-1250'>\u00dc".encode("cp1250"), None),
        ("<?xml version='1.0' encoding='windows-1254'?><p>\u0130\u00dc".encode("cp1254"), None),
        ("<script charset=koi8-r></script>\u00dc".encode("cp1252"), None),
        ("\u00dc".encode(), "no-such-charset"),
        ("\u00dc".encode(), "rot13"),
        ("\u00dc".encode(), "unicode_escape"),
    ],
)
def test_encodings(data: bytes, charset: str | None) -> None:
    assert decode_html(data, charset).endswith("\u00dc")


@pytest.mark.parametrize(
    ("label", "codec", "words"),
    [
        ("Shift_JIS", "cp932", "\u732b\u306e\u5199\u771f\u2460"),
        ("x-sjis", "cp932", "\u732b\u306e\u5199\u771f"),
        ("windows-1251", "cp1251", "\u043a\u043e\u0448\u043a\u0430"),
        ("koi8-r", "koi8-r", "\u043a\u043e\u0448\u043a\u0430"),
        ("gb2312", "gb18030", "\u8054\u901a \u7167\u7247 \u9555"),
        ("euc-kr", "cp949", "\uace0\uc591\uc774 \ub620"),
        ("iso-2022-jp", "iso2022_jp", "\u732b\u306e\u5199\u771f"),
        ("big5", "big5hkscs", "\u8c93\u7684\u7167\u7247"),
    ],
)
def test_alphabets_are_read_as_the_page_declares_them_and_as_utf_8_if_they_plainly_are(
    label: str, codec: str, words: str
) -> None:
    assert decode_html(words.encode(codec), label) == words
    assert decode_html(f"<meta charset='{label}'>{words}".encode(codec)).endswith(words)
    assert decode_html((words * 3).encode(), label) == words * 3


def test_an_opted_out_page_gives_no_images_but_its_signal() -> None:
    page = parse_page(b'<meta name="robots" content="noai, noimageai"><img src=a.jpg><a href=b.html>b</a>', URL)
    assert (page.images, page.opt_out) == ((), "meta robots: noai")
    assert page.links == ("https://site.example/dir/b.html",)


def test_links_are_followed_only_where_that_is_wanted() -> None:
    markup = (
        b"<a href=a.html#x>1</a><a href=a.html>2</a><a rel='nofollow ugc' href=b.html>3</a><a href='mailto:x@y'>4</a>"
    )
    assert parse_page(markup, URL).links == ("https://site.example/dir/a.html",)
    assert parse_page(b"<meta name=robots content=nofollow>" + markup, URL).links == ()


def test_a_license_of_the_figure_goes_before_that_of_the_page() -> None:
    markup = b"""<link rel=license href=/page><figure><img src=a.jpg><a rel="license x" href=/own>CC0</a></figure>
      <img src=b.jpg>"""
    first, second = parse_page(markup, URL).images
    assert (first.license, second.license) == ("https://site.example/own", "https://site.example/page")


def test_srcset_with_odd_spacing() -> None:
    text = " a.jpg 1x ,\n b.jpg,2.jpg  2x,c.jpg, d.jpg 1.5x,, "
    assert [(c.url, c.density) for c in parse_srcset(text)] == [
        ("a.jpg", 1.0),
        ("b.jpg,2.jpg", 2.0),
        ("c.jpg", 1.0),
        ("d.jpg", 1.5),
    ]
    assert largest([]) is None


def test_a_deeply_nested_page_is_read_in_reasonable_time() -> None:
    markup = b"<div>" * 20_000 + b"<img src=a.jpg>" * 500
    assert len(parse_page(markup, URL).images) == 1


def test_a_license_inside_one_figure_says_nothing_about_another() -> None:
    markup = b"""<figure><img src=a.jpg><img src=b.jpg><figcaption>Two cups. <a rel=license href=own>CC</a></figcaption>
      </figure><figure><img src=c.jpg></figure><p><img src=d.jpg></p>"""
    rows = parse_page(markup, URL).images
    assert [row.license for row in rows] == ["https://site.example/dir/own", "https://site.example/dir/own", "", ""]
    assert [row.extra.get("figcaption") for row in rows[:2]] == ["Two cups.", "Two cups."]


def test_the_picture_of_a_page_in_its_head_is_a_row_unless_it_is_shown() -> None:
    head = b"""<meta property="og:title" content="Two cats"><meta property="og:image" content="/hero.jpg">
      <meta property="og:image:alt" content="Two cats asleep"><meta property="og:image" content="/other.jpg">
      <meta name="twitter:image" content="/hero.jpg"><link rel=image_src href=/third.jpg>"""
    rows = parse_page(head + b"<img src=/other.jpg alt='a dog'>", URL).images
    assert [(row.url.rpartition("/")[2], row.text) for row in rows] == [
        ("other.jpg", "a dog"),
        ("hero.jpg", "Two cats asleep"),
        ("third.jpg", "Two cats"),
    ]
    assert [row.extra.get("found_in") for row in rows] == [None, "og:image", "image_src"]


def test_linked_data_gives_captions_and_licenses_also_to_pictures_that_are_shown() -> None:
    markup = (
        b"""<script type="application/ld+json">{"@graph": [{"@type": "Article", "headline": "Cats", "image":
      ["/plain.jpg", {"@type": "ImageObject", "contentUrl": "/a.jpg", "caption": "a cat", "creditText": "Ann",
      "license": "https://cc.example/by"}], "publisher": {"logo": {"@type": "ImageObject", "url": "/logo.png"}}}]}
      </script><script type="application/ld+json">{"broken": </script>
      <script type="application/ld+json">"""
        + b"[" * 100_000
        + b"""</script>
      <link rel=license href=/page><img src=/a.jpg><img src=/b.jpg>"""
    )
    rows = parse_page(markup, URL).images
    assert [(row.url.rpartition("/")[2], row.text, row.license.rpartition("/")[2]) for row in rows] == [
        ("a.jpg", "a cat", "by"),
        ("b.jpg", "", "page"),
        ("plain.jpg", "Cats", "page"),
    ]
    assert dict(rows[0].extra) == {"credit": "Ann"}


def test_a_picture_shown_twice_takes_what_it_lacks_from_the_second() -> None:
    markup = (
        b"<img src=a.jpg alt=''><img src=b.jpg><figure><img src=a.jpg alt=cat><figcaption>Tom</figcaption></figure>"
    )
    first, second = parse_page(markup, URL).images
    assert (first.text, first.extra["figcaption"], second.text) == ("cat", "Tom", "")


def test_frames_maps_next_pages_and_refreshes_are_links() -> None:
    markup = b"""<meta http-equiv=Refresh content="5; URL='on.html'"><link rel=next href=2.html>
      <iframe src=f.html></iframe><map><area href=m.html></map><a href="HTTPS://SITE.example/dir/x.html#1">"""
    page = parse_page(markup, URL)
    assert [link.rpartition("/")[2] for link in page.links] == ["2.html", "f.html", "m.html", "x.html", "on.html"]
    assert page.refresh == "https://site.example/dir/on.html"


def test_xhtml_with_an_empty_script_element_is_read_to_its_end() -> None:
    markup = (
        b"<?xml version='1.0'?><html xmlns='x'><head><script src='a.js'/><title/></head><body><img src='a.jpg'/></body>"
    )
    assert len(parse_page(markup, URL).images) == 1


@pytest.mark.parametrize(
    ("markup", "images"),
    [
        (b"<div>" * 100_000 + b"<img src=a.jpg>", 1),
        (b"".join(b"<figure><img src=%d.jpg>" % n for n in range(5_000)), 5_000),
        (b"".join(b"<b id=%d><img src=%d.jpg><p>" % (n, n) for n in range(5_000)), 5_000),
        (b"<picture>" + b"<source srcset='x.jpg 2x'>" * 5_000 + b"<img src=y.jpg>" * 5_000, 1),
        (b"<div>" + b"<i><b><img src=a.jpg></b></i>" * 5_000 + b"</div><div>" + b"<p></p>" * 20_000 + b"</div>", 1),
        (b"<figure>" + b"<img src=a.jpg>" * 5_000 + b"<figcaption>" + b"word " * 100_000, 1),
        (b"<a rel=license href=x>" * 20_000 + b"<img src=a.jpg>", 1),
        (b"<ul><li>" * 20_000 + b"<img src=a.jpg>", 1),
        (b"<!--" * 100_000, 0),
        (b"<script>" * 100_000, 0),
        (b"<p '=\"" * 100_000, 0),
        (b"\0" * 1_000_000 + b"<img src=a.jpg>", 1),
        (b"", 0),
    ],
    ids=lambda value: str(value[:20]) if isinstance(value, bytes) else "",
)
def test_markup_made_to_be_slow_is_read_in_reasonable_time(markup: bytes, images: int) -> None:
    started = time.process_time()
    assert len(parse_page(markup, URL).images) == images
    assert time.process_time() - started < 8


def test_an_element_of_very_many_attributes_ends_the_page() -> None:
    started = time.process_time()
    attributes = b" ".join(b"a%d=1" % n for n in range(60_000))
    assert len(parse_page(b"<img src=a.jpg><p " + attributes + b"><img src=b.jpg>", URL).images) == 1
    assert time.process_time() - started < 5


def test_a_page_twice_as_large_takes_about_twice_as_long() -> None:
    def seconds(count: int) -> float:
        markup = b"".join(b"<p>Some words here %d</p><img src=%d.jpg alt='a b c'>" % (n, n) for n in range(count))
        started = time.process_time()
        assert len(parse_page(markup, URL).images) == count
        return time.process_time() - started

    seconds(100)
    assert seconds(16_000) < 6 * 4 * seconds(4_000)
