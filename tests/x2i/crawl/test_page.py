"""Pages are read as browsers read them: images, their texts, their largest file, links."""

from __future__ import annotations

import pytest

from x2i.crawl.sources.page import decode_html, parse_page
from x2i.crawl.sources.srcset import largest, parse_srcset

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
    ],
)
def test_addresses(markup: str, expected: list[str] | None) -> None:
    found = _urls(markup)
    assert found if expected is None else found == expected


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("<meta charset=utf-8>Ü".encode(), None),
        ("Ü".encode(), None),
        ("<meta charset='iso-8859-1'>Ü".encode("latin-1"), None),
        ("Ü".encode("cp1252"), None),
        ("Ü".encode("utf-16"), None),
        ("\ufeffÜ".encode(), "iso-8859-1"),
        ("Ü".encode("cp1252"), "ISO-8859-1"),
        ("<meta http-equiv=content-type content='text/html; charset=windows-1250'>Ü".encode("cp1250"), None),
        ("Ü".encode(), "no-such-charset"),
        ("Ü".encode(), "rot13"),
    ],
)
def test_encodings(data: bytes, charset: str | None) -> None:
    assert decode_html(data, charset).endswith("Ü")


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


def test_a_licence_of_the_figure_goes_before_that_of_the_page() -> None:
    markup = b"""<link rel=license href=/page><figure><img src=a.jpg><a rel="license x" href=/own>CC0</a></figure>
      <img src=b.jpg>"""
    first, second = parse_page(markup, URL).images
    assert (first.licence, second.licence) == ("https://site.example/own", "https://site.example/page")


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


def test_a_licence_inside_one_figure_says_nothing_about_another() -> None:
    markup = b"""<figure><img src=a.jpg><img src=b.jpg><figcaption>Two cups. <a rel=license href=own>CC</a></figcaption>
      </figure><figure><img src=c.jpg></figure><p><img src=d.jpg></p>"""
    rows = parse_page(markup, URL).images
    assert [row.licence for row in rows] == ["https://site.example/dir/own", "https://site.example/dir/own", "", ""]
    assert [row.extra.get("figcaption") for row in rows[:2]] == ["Two cups.", "Two cups."]
