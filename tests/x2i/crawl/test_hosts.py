"""What is remembered of hosts: who is silent is left alone, and memory stays bounded."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest
from yarl import URL

from x2i.crawl.http import hosts
from x2i.crawl.http.hosts import HostRegistry, HostState, origin_of
from x2i.crawl.http.outcome import FetchDropped
from x2i.crawl.http.robots import RobotsRules
from x2i.reasons import Reason

SILENT = FetchDropped(Reason.TIMEOUT, "no answer in time")


def test_a_host_is_left_alone_after_so_many_failures_in_a_row_and_no_answer() -> None:
    state = HostState()
    for _ in range(4):
        state.note_silence(SILENT, most=5, seconds=60)
    state.note_answer()
    for _ in range(4):
        state.note_silence(SILENT, most=5, seconds=60)
    assert state.current_refusal() is None
    state.note_silence(SILENT, most=5, seconds=60)
    assert state.current_refusal() == SILENT


def test_after_the_pause_one_more_failure_is_enough() -> None:
    state = HostState()
    for _ in range(5):
        state.note_silence(SILENT, most=5, seconds=0.05)
    time.sleep(0.06)
    assert state.current_refusal() is None
    state.note_silence(SILENT, most=5, seconds=60)
    assert state.current_refusal() == SILENT


def test_a_trailing_dot_and_capitals_name_no_other_host() -> None:
    origins = {origin_of(URL(text)) for text in ("http://A.example/x", "http://a.example./y", "http://a.example:80/z")}
    assert len(origins) == 1
    assert origin_of(URL("https://a.example/")) not in origins


def test_rules_of_hosts_not_met_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "MOST_HOSTS", 1000)
    monkeypatch.setattr(hosts, "MOST_RULE_BYTES", 100_000)
    registry = HostRegistry()
    for number in range(5000):
        registry.state(URL(f"http://{number}.example/")).rules = RobotsRules(size=1000)
    assert len(registry.states) == 1000
    kept = [state for state in registry.states.values() if state.rules]
    assert len(kept) <= 100 + 500
    assert registry.state(URL("http://4999.example/")).rules is not None


def test_a_book_can_be_sent_to_a_worker_process(tmp_path: Path) -> None:
    registry = HostRegistry(tmp_path)
    registry.state(URL("http://a.example/")).rules = RobotsRules.from_text(b"User-agent: *\nDisallow: /x")
    again = pickle.loads(pickle.dumps(registry))
    assert again.limiter.acquire("http://a.example:80", 1) is not None
    assert registry.limiter.acquire("http://a.example:80", 1) is None
