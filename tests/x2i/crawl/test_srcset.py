"""Any text in a srcset is survived, and the largest file is found."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2i.crawl.sources.pages.srcset import largest, parse_srcset


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("a.jpg 100w, b.jpg 2x", "a.jpg"),
        ("a.jpg 1.5x, b.jpg .5x, c.jpg 1e1x", "c.jpg"),
        ("a.jpg 100w 50h, b.jpg 50h 200w", "b.jpg"),
        ("a.jpg -5x, b.jpg", "a.jpg"),
        ("a.jpg\t100W\n,\nb.jpg 50w", "a.jpg"),
        ("data:image/gif;base64,R0lG,x 1x, b.jpg 2x", "b.jpg"),
        ("a.jpg?w=1,h=2 1x", "a.jpg?w=1,h=2"),
        ("a.jpg 1x, a.jpg", "a.jpg"),
        ("a.jpg " + "9" * 400 + "w, b.jpg 5w", "b.jpg"),
        (" , ,, ", None),
        ("", None),
    ],
)
def test_the_largest_candidate(text: str, best: str | None) -> None:
    assert largest(list(parse_srcset(text))) == best


@given(st.text(alphabet="ab,. \t\n1w2xh-+e()%:/?", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    assert all(candidate.url and not candidate.url.startswith(",") for candidate in parse_srcset(text))


def test_a_long_srcset_is_read_in_reasonable_time() -> None:
    started = time.process_time()
    assert len(list(parse_srcset("a.jpg 1w, " * 100_000))) == 100_000
    list(parse_srcset("a" + "," * 1_000_000 + "b"))
    list(parse_srcset("a.jpg " + "1" * 1_000_000))
    assert time.process_time() - started < 5
