"""tdmrep.json: the first rule that covers a path decides; what is broken reserves nothing."""

from __future__ import annotations

import json

import pytest

from x2i.crawl.http.tdmrep import TdmReservations

RULES = [
    {"location": "/open/", "tdm-reservation": 0},
    {"location": "/*.png$", "tdm-reservation": 1},
    {"location": "/photos/", "tdm-reservation": 1, "tdm-policy": "https://a.example/policy.json"},
    {"location": "/text/", "tdm-reservation": "1"},
]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/photos/a.jpg", "/photos/"),
        ("/photos/a.jpg?size=2", "/photos/"),
        ("/open/a.png", ""),
        ("/deep/er/a.png", "/*.png$"),
        ("/a.png?x=1", ""),
        ("/text/a.jpg", "/text/"),
        ("/photo", ""),
        ("/", ""),
    ],
)
def test_the_first_rule_that_covers_a_path_decides(path: str, location: str) -> None:
    reservations = TdmReservations.from_json(json.dumps(RULES).encode())
    expected = f"tdmrep.json: {location}" if location else ""
    assert reservations.opt_out(f"https://a.example{path}") == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"7",
        b"<html>",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'[1, null, "x", {"location": 5, "tdm-reservation": 1}, {"tdm-reservation": 1}]',
        b'[{"location": "/", "tdm-reservation": 2}, {"location": "/", "tdm-reservation": null}]',
        b'[{"location": "/x\\nAllow: /", "tdm-reservation": 1}]',
    ],
)
def test_what_is_broken_reserves_nothing(data: bytes) -> None:
    assert TdmReservations.from_json(data).opt_out("https://a.example/a.jpg") == ""


def test_a_single_object_and_a_path_without_slash_are_understood() -> None:
    data = b'{"location": "photos", "tdm-reservation": 1}'
    assert TdmReservations.from_json(data).opt_out("https://a.example/photos/1.jpg") == "tdmrep.json: photos"
