"""Opt-out signals are found in every form they are sent, and only where they are meant for us."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from x2i.crawl.http.optout import header_opt_out, meta_nofollow, meta_opt_out, product_token


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("noai", "noai"),
        ("NoAI, NoImageAI", "noai"),
        ("nofollow, noimageai", "noimageai"),
        ("noindex", "noindex"),
        ("noimageindex", "noimageindex"),
        ("none", "none"),
        ("noml", "noml"),
        ("x2i: noai", "noai"),
        ("x2i/1.0: noai", "noai"),
        ("nofollow noai", "noai"),
        ("noimageai; nofollow", "noimageai"),
        ("*: noai", "noai"),
        ("otherbot: noindex", ""),
        ("otherbot: nofollow, noindex", ""),
        ("otherbot: noindex, x2i: noai", "noai"),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noai", "noai"),
        ("max-image-preview: none", ""),
        ("max-snippet: 10, noindex", "noindex"),
        ("all", ""),
        ("nofollow", ""),
        ("", ""),
    ],
)
def test_x_robots_tag(value: str, found: str) -> None:
    assert header_opt_out({"X-Robots-Tag": value}, "x2i") == (f"x-robots-tag: {found}" if found else "")


def test_the_second_of_two_headers_counts() -> None:
    headers = CIMultiDict([("X-Robots-Tag", "otherbot: noindex"), ("x-robots-tag", "noai")])
    assert header_opt_out(headers, "x2i") == "x-robots-tag: noai"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("train-ai=n", "train-ai=n"),
        ("search=y, train-ai=n;x=1", "train-ai=n"),
        ("TRAIN-AI=N", "train-ai=n"),
        ("train-genai=n", "train-genai=n"),
        ("ai-train=no, search=yes", "ai-train=no"),
        ("train-ai=?0", "train-ai=?0"),
        ("train-ai=y, train-ai=n", "train-ai=n"),
        ("bots=n", "bots=n"),
        ("bots=n, train-ai=y", ""),
        ("train-ai=y", ""),
        ("train-ai", ""),
        ("train-ai=maybe", ""),
        ('x="search=y, train-ai=n"', ""),
        ("search=n", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("name", ["Content-Usage", "Content-Signal"])
def test_usage_preferences(name: str, value: str, found: str) -> None:
    assert header_opt_out({name: value}, "x2i") == (f"{name.lower()}: {found}" if found else "")


def test_tdm_reservation() -> None:
    assert header_opt_out({"tdm-reservation": " 1 "}, "x2i") == "tdm-reservation: 1"
    assert header_opt_out({"tdm-reservation": "1, 1"}, "x2i") == "tdm-reservation: 1"
    assert header_opt_out({"tdm-reservation": "0"}, "x2i") == ""


def test_meta_tags() -> None:
    assert meta_opt_out([("ROBOTS", "NOAI, nofollow")], "x2i") == "meta robots: noai"
    assert meta_opt_out([("x2i", "noimageai")], "x2i") == "meta x2i: noimageai"
    assert meta_opt_out([("otherbot", "noindex"), ("robots", "index, follow")], "x2i") == ""
    assert meta_opt_out([("tdm-reservation", "1")], "x2i") == "meta tdm-reservation: 1"
    assert meta_nofollow([("robots", "noai, nofollow")], "x2i")
    assert not meta_nofollow([("robots", "noai")], "x2i")


def test_the_product_token_is_the_first_word_of_the_user_agent() -> None:
    assert product_token("MyLab/2.0 (+https://lab.example)") == "mylab"
    assert product_token("x2i-demo") == "x2i-demo"
    assert product_token("Lab (contact)") == "lab"
