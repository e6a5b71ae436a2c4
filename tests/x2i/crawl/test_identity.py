"""Hosts are written in one way, so that a takedown finds every spelling of one."""

from __future__ import annotations

import pytest

from x2i.crawl.planning.identity import url_host
from x2i.takedown.request import read_request


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Img.Example.org:8080/x", "img.example.org"),
        ("http://example.org./x", "example.org"),
        ("http://bücher.example/x", "xn--bcher-kva.example"),
        ("http://BÜCHER.example./x", "xn--bcher-kva.example"),
        ("http://xn--bcher-kva.example/x", "xn--bcher-kva.example"),
        ("http://127\u30020\u30020\u30021/x", "127.0.0.1"),
        ("http://[::1]:80/x", "::1"),
        ("http://xn--a/x", "xn--a"),
        (f"http://{'é' * 80}.example/x", f"{'é' * 80}.example"),
        ("photo.jpg", ""),
        ("http://[::1", ""),
    ],
)
def test_a_host_has_one_spelling(url: str, host: str) -> None:
    assert url_host(url) == host


def test_a_takedown_may_name_a_host_in_any_spelling() -> None:
    spellings = ("bücher.example", "BÜCHER.example.", "xn--bcher-kva.example")
    assert {read_request({"host": [text]}, 0).hosts for text in spellings} == {frozenset({"xn--bcher-kva.example"})}
