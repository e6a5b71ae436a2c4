"""robots.txt as RFC 9309 reads it."""

from __future__ import annotations

from x2i.crawl.robots import MAX_ROBOTS_BYTES, RobotsRules


def test_the_longest_match_and_the_own_group_decide() -> None:
    rules = RobotsRules.from_text(
        b"User-agent: *\nDisallow: /\n\nUser-agent: x2i\nDisallow: /private\nAllow: /private/open\nCrawl-delay: 2\n"
    )
    assert rules.allows("http://a.example/x.jpg", "x2i")
    assert not rules.allows("http://a.example/private/x.jpg", "x2i")
    assert rules.allows("http://a.example/private/open/x.jpg", "x2i")
    assert not rules.allows("http://a.example/x.jpg", "otherbot")
    assert rules.crawl_delay("x2i") == 2.0


def test_wildcards_and_ends_are_honoured() -> None:
    rules = RobotsRules.from_text(b"User-agent: *\nDisallow: /*.jpg$\n")
    assert not rules.allows("http://a.example/a/b.jpg", "x2i")
    assert rules.allows("http://a.example/a/b.jpg?x=1", "x2i")


def test_statuses_stand_for_rules() -> None:
    assert RobotsRules.from_status(200) is None
    for status, allowed in ((404, True), (403, True), (410, True), (500, False), (503, False)):
        rules = RobotsRules.from_status(status)
        assert rules is not None
        assert rules.allows("http://a.example/", "x2i") is allowed


def test_a_line_cut_by_the_size_limit_is_no_rule() -> None:
    line = b"Disallow: /abc/def\n"
    head = b"User-agent: *\n"
    filler = b"#" * (MAX_ROBOTS_BYTES - len(head) - 12) + b"\n"
    rules = RobotsRules.from_text(head + filler + line)
    assert rules.allows("http://a.example/other", "x2i")


def test_binary_rubbish_allows() -> None:
    assert RobotsRules.from_text(bytes(range(256)) * 100).allows("http://a.example/", "x2i")


def test_a_crawl_delay_is_capped() -> None:
    assert RobotsRules.from_text(b"User-agent: *\nCrawl-delay: 86400\n").crawl_delay("x2i") == 30.0
