"""Turns at hosts are shared by whoever opens the same file, and outlive nobody who held them."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from x2i.crawl.http.rate_limit import HostRateLimiter, default_folder
from x2i.errors import UserError

HOST, OTHER = "http://a.example:80", "http://b.example:80"


def test_places_are_counted_over_all_who_open_the_file(tmp_path: Path) -> None:
    one, two = HostRateLimiter(tmp_path), HostRateLimiter(tmp_path)
    slots = [one.acquire(HOST, 3), two.acquire(HOST, 3), two.acquire(HOST, 3)]
    assert None not in slots
    assert len(set(slots)) == 3
    assert one.acquire(HOST, 3) is None
    assert two.acquire(HOST, 3) is None
    assert one.acquire(OTHER, 3) is not None
    two.release(slots[1])  # type: ignore[arg-type]
    assert one.acquire(HOST, 3) == slots[1]


def test_whoever_allows_fewer_is_held_to_fewer(tmp_path: Path) -> None:
    generous, modest = HostRateLimiter(tmp_path), HostRateLimiter(tmp_path)
    while generous.acquire(HOST, 8) is not None:
        pass
    assert modest.acquire(HOST, 1) is None


def test_closing_one_gives_back_its_places_only(tmp_path: Path) -> None:
    one, two = HostRateLimiter(tmp_path), HostRateLimiter(tmp_path)
    assert one.acquire(HOST, 2) is not None
    assert two.acquire(HOST, 2) is not None
    two.close()
    assert one.acquire(HOST, 2) is not None
    assert one.acquire(HOST, 2) is None


def test_the_places_of_a_killed_process_are_free_again(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from x2i.crawl.http.rate_limit import HostRateLimiter\n"
        f"limiter = HostRateLimiter(Path({str(tmp_path)!r})); "
        f"print(limiter.acquire({HOST!r}, 1), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() != "None"
        limiter = HostRateLimiter(tmp_path)
        assert limiter.acquire(HOST, 1) is None
        os.kill(process.pid, signal.SIGKILL)
    assert limiter.acquire(HOST, 1) is not None


def test_the_longest_delay_that_anybody_asks_for_holds_for_all(tmp_path: Path) -> None:
    slow, quick = HostRateLimiter(tmp_path), HostRateLimiter(tmp_path)
    assert quick.start(HOST, 0.0) == 0.0
    assert 0 < slow.start(HOST, 0.3) <= 0.3  # what started before counts as well
    time.sleep(0.31)
    assert slow.start(HOST, 0.3) == 0.0
    assert 0.2 < quick.start(HOST, 0.0) <= 0.3
    assert quick.start(OTHER, 0.0) == quick.start(OTHER, 0.0) == 0.0
    time.sleep(0.31)
    assert quick.start(HOST, 0.0) == 0.0
    assert 0.2 < quick.start(HOST, 0.0) <= 0.3


def test_the_delay_counts_from_when_the_request_left(tmp_path: Path) -> None:
    limiter = HostRateLimiter(tmp_path)
    assert limiter.start(HOST, 0.2) == 0.0
    time.sleep(0.15)
    assert limiter.mark_sent(HOST)
    assert limiter.wait_seconds(HOST, 0.2) > 0.15


def test_a_hold_keeps_everybody_back_and_is_never_shortened(tmp_path: Path) -> None:
    one, two = HostRateLimiter(tmp_path), HostRateLimiter(tmp_path)
    assert one.pause(HOST, 5)
    assert two.pause(HOST, 1)
    assert two.start(HOST, 0.0) > 4


def test_what_an_earlier_start_of_the_machine_left_is_forgotten(tmp_path: Path) -> None:
    HostRateLimiter(tmp_path).close()
    file = tmp_path / "hosts.limits"
    file.write_bytes(b"\x7f\xf0" * (file.stat().st_size // 2))
    limiter = HostRateLimiter(tmp_path)
    assert limiter.start(HOST, 0.0) == 0.0
    assert limiter.start(OTHER, 5.0) == 0.0


def test_a_crawl_shortly_before_the_machine_started_anew_holds_nothing_up(tmp_path: Path) -> None:
    HostRateLimiter(tmp_path).close()
    file, later = tmp_path / "hosts.limits", time.monotonic() + 1800  # on a clock that had run for longer
    entry = struct.pack("dddd", later, later + 60, 1.0, later + 60)
    file.write_bytes(entry * (file.stat().st_size // len(entry)))
    assert HostRateLimiter(tmp_path).start(HOST, 1.0) == 0.0


def test_a_request_costs_less_than_a_tenth_of_a_millisecond(tmp_path: Path) -> None:
    limiter, times = HostRateLimiter(tmp_path), []
    for number in range(3000):
        origin, started = f"http://{number % 700}.example:80", time.perf_counter()
        slot = limiter.acquire(origin, 8)
        assert slot is not None
        limiter.wait_seconds(origin, 0.0)
        limiter.start(origin, 0.0)
        limiter.mark_sent(origin)
        limiter.release(slot)
        times.append(time.perf_counter() - started)
    assert sorted(times)[len(times) // 2] < 100e-6


def test_a_folder_that_cannot_be_written_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="TMPDIR"):
        HostRateLimiter(tmp_path / "file" / "folder")


def test_each_user_has_a_folder_of_their_own() -> None:
    assert str(os.getuid()) in default_folder().name
    HostRateLimiter()
    assert default_folder().stat().st_mode & 0o077 == 0
