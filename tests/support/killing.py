"""Crawls that are killed with SIGKILL at random moments, as often as asked, and must come to the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.engine.interrupt import descendants
from tests.pipelines.engine.test_engine import file_sums
from tests.support import REPOSITORY
from tests.support.crawling import url_table
from tests.support.hostile_server import (
    Handler,
    HostileServer,
    Site,
    failing_first,
    image,
    photograph,
    reply,
    reset,
    slowly,
)

IMAGES = 300
_KILLS_AT_MOST = 2
_LONGEST_RUN = 240


@dataclass(frozen=True)
class Round:
    """One crawl that was killed: how often, how many partitions were committed at each kill, and its files' sums."""

    kills: int
    committed: tuple[int, ...]
    sums: dict[str, str]


def site_with_failures(server: HostileServer) -> Site:
    """Opens a site of several hundred images, about a quarter of which cannot be had, in a dozen ways."""
    photo = photograph(side=64)
    no_ai = image(photo, X_Robots_Tag="noai")
    bad: list[Handler] = [
        reply(404),
        reply(500),
        reset,
        no_ai,
        image(b"<html>"),
        image(photo[:500]),
        image(photo, Content_Length="99999999999"),
        image(photo, Content_Length=str(len(photo) + 9)),
        failing_first(1, reply(503), image(photo)),
        reply(302, headers={"Location": "http://10.0.0.1/"}),
    ]
    routes = {
        f"/{n}.jpg": bad[n // 5 % len(bad)]
        if n % 5 == 0
        else slowly(0.03, after_head=True, data=photograph(64, n % 97))
        for n in range(IMAGES)
    }
    return server.site(routes, reply(200, b"User-agent: *\nDisallow: /7\n"))


def table_of(site: Site, path: Path) -> str:
    """Writes the images' URLs into a table, with dead hosts, unknown ones and closed addresses among them."""
    urls = [site.url(f"/{n}.jpg") for n in range(IMAGES)]
    for n in range(0, IMAGES, 20):
        urls[n:n] = [f"http://127.0.0.1:1/{n}.jpg", f"http://nosuchhost.invalid/{n}.jpg", f"http://10.0.0.1/{n}.jpg"]
    return url_table(path, urls)


def run_to_the_end(source: str, root: Path, executor: str) -> dict[str, str]:
    """Crawls `source` without being disturbed; returns the sums of all files of the dataset."""
    process = _start(source, root, executor)
    error = process.communicate(timeout=_LONGEST_RUN)[1]
    assert process.returncode == 0, error
    return file_sums(root)


def run_and_kill(source: str, root: Path, site: Site, seed: int, executor: str) -> Round:
    """Crawls `source`, killed up to twice, and continues to the end.

    With the inline executor the process itself is killed; with others one of its workers, chosen at random, which
    leaves the driver to finish the run, or on every third seed the driver.
    """
    rng = random.Random(seed)
    committed = []
    spares_driver = executor != "inline" and seed % 3 != 0
    for _ in range(rng.randint(1, _KILLS_AT_MOST)):
        process = _start(source, root, executor)
        if _wait_for_requests(process, site, rng.randint(1, IMAGES // 2)):
            time.sleep(rng.uniform(0, 0.5))
        committed.append(len(list(root.glob("commits/crawl/*.json"))))
        workers = worker_processes(process.pid)
        victim = rng.choice(workers) if spares_driver and workers else process.pid
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        process.communicate(timeout=_LONGEST_RUN)
    return Round(len(committed), tuple(committed), run_to_the_end(source, root, executor))


def kill_rounds(folder: Path, seeds: range, executor: str) -> Counter[str]:
    """Runs one round a seed; counts kills, those amid the work, and datasets that differ from an undisturbed one."""
    counts: Counter[str] = Counter()
    with HostileServer() as server:
        site = site_with_failures(server)
        source = table_of(site, folder / "urls.csv")
        whole = run_to_the_end(source, folder / "whole" / "data", "inline")
        partitions = sum(name.startswith("commits/") for name in whole)
        for seed in seeds:
            done = run_and_kill(source, folder / str(seed) / "data", site, seed, executor)
            counts["rounds"] += 1
            counts["kills"] += done.kills
            counts["kills_amid_work"] += sum(0 < number < partitions for number in done.committed)
            counts["differing"] += done.sums != whole
    return counts


def _start(source: str, root: Path, executor: str) -> subprocess.Popen[str]:
    options = ["--partition-size", "40", "--retries", "1", "--allow-net", "127.0.0.0/8", "--max-bytes", "100000"]
    options += ["--contact", "test@example.org", "--executor", executor]
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "crawl", source, "--out", str(root)]
    return subprocess.Popen(
        [*command, *options, *(["--workers", "2"] if executor != "inline" else [])],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_requests(process: subprocess.Popen[str], site: Site, count: int) -> bool:
    """Waits until the run has made `count` requests; False if it ended before."""
    before, deadline = len(site.log), time.monotonic() + _LONGEST_RUN
    while len(site.log) < before + count and time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    return True


def worker_processes(driver: int) -> list[int]:
    """Returns the processes that run partitions for `driver`: Ray's actors, or children of the fork server."""
    return [pid for pid in descendants(driver) if _is_actor(pid) or _is_forked(pid)]


def _is_actor(pid: int) -> bool:
    """Whether it is one of ours: Ray's agents are called ray:: too, and take its whole node with them."""
    return _command(pid).startswith((b"ray::PartitionActor", b"ray::IDLE"))


def _is_forked(pid: int) -> bool:
    """A process that was forked, and not started, has its parent's command line."""
    command = _command(pid)
    if b"multiprocessing.forkserver" not in command:
        return False
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return _command(parent) == command


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
