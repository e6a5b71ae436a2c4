"""robots.txt as RFC 9309 reads it."""

from __future__ import annotations

import pytest

from x2i.crawl.http.robots import MAX_ROBOTS_BYTES, RobotsRules


def test_the_longest_match_and_the_own_group_decide() -> None:
    rules = RobotsRules.from_text(
        b"User-agent: *\nDisallow: /\n\nUser-agent: x2i\nDisallow: /private\nAllow: /private/open\nCrawl-delay: 2\n"
    )
    assert rules.allows("http://a.example/x.jpg", "x2i")
    assert not rules.allows("http://a.example/private/x.jpg", "x2i")
    assert rules.allows("http://a.example/private/open/x.jpg", "x2i")
    assert not rules.allows("http://a.example/x.jpg", "otherbot")
    assert rules.crawl_delay("x2i") == 2.0


@pytest.mark.parametrize("line", ["x2i/1.0", "X2I/*", "x2i (our crawler)", "x2i # us", "x2i*"])
def test_a_line_with_more_than_the_name_addresses_its_crawler(line: str) -> None:
    rules = RobotsRules.from_text(f"User-agent: {line}\nDisallow: /\nContent-Usage: train-ai=n\n".encode())
    assert not rules.allows("http://a.example/x.jpg", "x2i")
    assert rules.opt_out("http://a.example/x.jpg", "x2i")
    assert rules.allows("http://a.example/x.jpg", "otherbot")


@pytest.mark.parametrize("name", ["x", "x2", "2i", "x2ibot", "my-x2i"])
def test_the_group_of_a_crawler_whose_name_is_part_of_ours_is_not_ours(name: str) -> None:
    rules = RobotsRules.from_text(f"User-agent: {name}\nAllow: /\n\nUser-agent: *\nDisallow: /\n".encode())
    assert not rules.allows("http://a.example/x.jpg", "x2i")


def test_wildcards_and_ends_are_honored() -> None:
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


def test_usage_lines_of_the_own_group_refuse_training_by_the_longest_path() -> None:
    rules = RobotsRules.from_text(
        b"User-Agent: *\nAllow: /\nDisallow: /never/\nContent-Usage: / train-ai=n\n"
        b"content-usage : /ai-ok/\ttrain-ai=y # gladly\nContent-Usage: /ai-ok/search/ search=n\n"
        b"\nUser-Agent: ExampleBot\nAllow: /\nContent-Usage: / train-ai=y\n"
    )
    refused = "robots.txt: training is refused"
    assert rules.opt_out("http://a.example/test", "x2i") == refused
    assert rules.opt_out("http://a.example/ai-ok/test", "x2i") == ""
    assert rules.opt_out("http://a.example/ai-ok/search/test", "x2i") == ""
    assert rules.opt_out("http://a.example/test", "examplebot") == ""
    assert rules.allows("http://a.example/test", "x2i")
    assert not rules.allows("http://a.example/never/test", "x2i")


def test_of_two_usage_lines_for_one_path_the_one_that_refuses_counts() -> None:
    for lines in ("/a train-ai=y\nContent-Usage: /a train-ai=n", "/a train-ai=n\nContent-Usage: /a train-ai=y"):
        rules = RobotsRules.from_text(f"User-agent: *\nContent-Usage: {lines}\n".encode())
        assert rules.opt_out("http://a.example/abc", "x2i")
        assert not rules.opt_out("http://a.example/b", "x2i")


def test_usage_lines_without_a_path_and_content_signals_mean_every_path() -> None:
    for line in (b"Content-Usage: train-ai=n", b"Content-Signal: search=yes, ai-train=no"):
        rules = RobotsRules.from_text(b"User-agent: otherbot\nUser-agent: *\nAllow: /\n" + line)
        assert rules.opt_out("http://a.example/x/y.jpg", "x2i")
    assert not RobotsRules.from_text(b"User-agent: otherbot\nContent-Usage: train-ai=n").opt_out("http://a/x", "x2i")


def test_utf_16_is_read_as_such() -> None:
    rules = RobotsRules.from_text("User-agent: *\nDisallow: /a\n".encode("utf-16"))
    assert not rules.allows("http://a.example/a", "x2i")
