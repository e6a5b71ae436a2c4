"""License documents (RSL): where they are named, which part of a site they are about, and what refuses training."""

from __future__ import annotations

import pytest

from x2i.crawl.http.rsl import RslTerms, header_licenses, robots_licenses

PAGE = "https://a.example/photos/1.jpg"


def document(terms: str, url: str = "/", more: str = "") -> bytes:
    return f'<rsl xmlns="https://rslstandard.org/rsl"><content url="{url}">{terms}</content>{more}</rsl>'.encode()


def license(*rules: str) -> str:
    return f"<license>{''.join(rules)}</license>"


NO_TRAINING = license('<prohibits type="usage">ai-train</prohibits>')


@pytest.mark.parametrize(
    ("terms", "refused"),
    [
        (NO_TRAINING, "prohibited"),
        (license("<prohibits>search, ai-all</prohibits>"), "prohibited"),
        (license('<prohibits type="usage"> all </prohibits>'), "prohibited"),
        (license('<permits type="usage">search ai-input</permits>'), "not permitted"),
        (license('<permits type="usage">ai-all</permits>'), ""),
        (license('<permits type="usage">train-ai</permits><prohibits type="usage">search</prohibits>'), ""),
        (license('<permits type="usage">all</permits>', NO_TRAINING[9:-10]), "prohibited"),
        (license('<permits type="user">education</permits>'), ""),
        (license('<payment type="free"/>'), ""),
        (license("<payment/>"), ""),
        (license('<payment type="crawl"><amount currency="USD">1</amount></payment>'), "paid"),
        (license("<payment><standard>https://rslcollective.org/license</standard></payment>"), "paid"),
        (license('<payment type="attribution"/>'), "paid"),
        (NO_TRAINING + license("<permits>ai-train</permits>"), ""),
        (NO_TRAINING + license('<payment type="training"/>'), "prohibited"),
        ("", ""),
        ("<terms>https://a.example/terms</terms>", ""),
    ],
)
def test_terms_refuse_training_or_do_not(terms: str, refused: str) -> None:
    signal = RslTerms.from_xml(document(terms)).opt_out(PAGE)
    assert (signal == "") == (refused == "")
    assert refused in signal


@pytest.mark.parametrize(
    ("url", "covers"),
    [
        ("/", True),
        ("", True),
        ("*", True),
        ("/photos/", True),
        ("/photos/*.jpg$", True),
        ("/texts/", False),
        ("/*.png$", False),
        ("https://a.example/photos/*", True),
        ("https://a.example", True),
        ("http://a.example/", False),
        ("https://other.example/", False),
        ("https://[broken/", False),
    ],
)
def test_terms_are_about_the_part_of_the_site_that_they_name(url: str, covers: bool) -> None:
    assert bool(RslTerms.from_xml(document(NO_TRAINING, url)).opt_out(PAGE)) == covers


def test_the_longest_path_decides_and_of_equal_ones_the_refusal() -> None:
    free = license('<payment type="free"/>')
    part = '<content url="{}">{}</content>'
    assert not RslTerms.from_xml(document(NO_TRAINING, more=part.format("/photos/", free))).opt_out(PAGE)
    assert RslTerms.from_xml(document(free, more=part.format("/photos/", NO_TRAINING))).opt_out(PAGE)
    assert RslTerms.from_xml(document(free, more=part.format("/", NO_TRAINING))).opt_out(PAGE)


def test_a_license_server_must_be_asked() -> None:
    data = b'<rsl xmlns="https://rslstandard.org/rsl"><content url="/" server="https://s.example"><license/></content></rsl>'
    assert RslTerms.from_xml(data).opt_out(PAGE) == "rsl: a license must be obtained from its server"


def test_terms_in_a_feed_count_and_the_media_of_a_feed_do_not() -> None:
    feed = (
        '<rss xmlns:rsl="https://rslstandard.org/rsl" xmlns:media="http://search.yahoo.com/mrss/"><channel><item>'
        '<media:content url="/"/><rsl:content url="/photos/"><rsl:license><rsl:prohibits>ai-train</rsl:prohibits>'
        "</rsl:license></rsl:content></item></channel></rss>"
    )
    terms = RslTerms.from_xml(feed.encode())
    assert len(terms.contents) == 1
    assert terms.opt_out(PAGE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><body>Terms</body></html>",
        document(NO_TRAINING)[:-3],
        b'<!DOCTYPE rsl [<!ENTITY a "b">]>' + document(NO_TRAINING),
        bytes(range(256)),
        b"<a>" * 50_000,
    ],
)
def test_what_is_no_license_document_states_no_terms(data: bytes) -> None:
    assert RslTerms.from_xml(data) == RslTerms()


def test_robots_txt_names_documents_for_every_crawler() -> None:
    text = "User-agent: bot\nLicense: https://a.example/l.xml\n  license:/m.xml # ours\n#License: no.xml\nLicense:\n"
    assert robots_licenses(text) == ("https://a.example/l.xml", "/m.xml")


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ('<https://a.example/l.xml>; rel="license"; type="application/rsl+xml"', ["https://a.example/l.xml"]),
        ("</license.xml>; rel=license", ["/license.xml"]),
        ("</rsl?v=1>; REL=License", ["/rsl?v=1"]),
        ("</l>; type=application/rsl+xml; rel='x'; rel=\"license next\"", ["/l"]),
        ('</a.css>; rel="preload", </l.xml>; rel="license", <b>; rel=next', ["/l.xml"]),
        ("<https://creativecommons.org/licenses/by/4.0/>; rel=license", []),
        ('<https://creativecommons.org/licenses/by/4.0/rdf.xml>; rel=license; type="text/html"', []),
        ("</l.xml>; rel=author", []),
        ("<" * 8000, []),
        ("</l.xml>" + "; " * 4000, []),
    ],
)
def test_a_link_header_names_documents(link: str, found: list[str]) -> None:
    assert list(header_licenses({"Link": link})) == found
