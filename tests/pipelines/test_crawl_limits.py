"""The limits per host hold over worker processes and over crawls: the server's own log says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipelines.stages.crawl.stage import CrawlStage
from tests.support.crawling import QUICK, crawl_side_by_side, crawl_stage, stored_records, url_table
from tests.support.hostile_server import HostileServer, Site, failing_first, image, photograph, reply, slowly

PHOTO = photograph(side=32)
PROCESSES = 4
HASTE = 0.02
"""Seconds by which a process that this busy machine held up may send a request after its turn."""


def _crawls(root: Path, site: Site, images: int, **options: object) -> list[tuple[Path, CrawlStage]]:
    """Splits the images of a site between the processes, each with a dataset of its own."""
    crawls = []
    for process in range(PROCESSES):
        urls = [site.url(f"/{n}.jpg") for n in range(process, images, PROCESSES)]
        source = url_table(root / f"{process}.csv", urls)
        crawls.append((root / f"data{process}", crawl_stage(sources=(source,), **QUICK, **options)))
    return crawls


def _all_stored(root: Path) -> int:
    records = [record for process in range(PROCESSES) for record in stored_records(root / f"data{process}")]
    return sum(record.status == "ok" for record in records)


def test_one_host_gets_no_more_requests_at_once_from_all_processes_together(
    hostile_server: HostileServer, tmp_path: Path
) -> None:
    seconds, images, per_host = 0.02, 320, 3
    site = hostile_server.site({f"/{n}.jpg": slowly(seconds, after_head=True, data=PHOTO) for n in range(images)})
    crawl_side_by_side(_crawls(tmp_path, site, images, per_host=per_host))
    assert _all_stored(tmp_path) == images
    assert site.most_at_once == per_host


def test_one_host_gets_its_delay_between_requests_of_all_processes_together(
    hostile_server: HostileServer, tmp_path: Path
) -> None:
    delay, images = 0.1, 60
    robots = reply(200, f"User-agent: *\nCrawl-delay: {delay}\n".encode())
    site = hostile_server.site({f"/{n}.jpg": image(PHOTO) for n in range(images)}, robots)
    crawls = _crawls(tmp_path, site, images)
    with_option = [(root, replace(stage, fetch=replace(stage.fetch, delay=delay))) for root, stage in crawls[:2]]
    crawl_side_by_side([*with_option, *crawls[2:]])  # two know the delay from the command line, two from robots.txt
    assert _all_stored(tmp_path) == images
    knowing = [request for request in site.log if request.path != "/robots.txt"]
    for distance in (1, 2, 10):
        gaps = [later.start - (earlier.start - earlier.late) for earlier, later in zip(knowing, knowing[distance:])]
        assert min(gaps) >= distance * delay - HASTE, (distance, sorted(gaps)[:5])
    took = site.log[-1].start - site.log[0].start
    assert (len(site.log) - 1) * delay / took >= 0.7  # and the crawl is not much slower than that


def test_a_host_that_asks_one_process_to_wait_is_left_alone_by_all(
    hostile_server: HostileServer, tmp_path: Path
) -> None:
    images, seconds = 40, 2
    busy = failing_first(1, reply(503, headers={"Retry-After": str(seconds)}), image(PHOTO))
    routes = {f"/{n}.jpg": slowly(0.02, after_head=True, data=PHOTO) for n in range(images)}
    site = hostile_server.site({**routes, "/0.jpg": busy})
    crawl_side_by_side(_crawls(tmp_path, site, images, per_host=1))
    assert _all_stored(tmp_path) == images
    [first, _] = [request for request in site.log if request.path == "/0.jpg"]
    following = [request.start for request in site.log if request.start > first.end]
    assert min(following) - first.end >= seconds - HASTE
