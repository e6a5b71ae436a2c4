"""Every way a server can misbehave ends as a stored reason, and the crawl goes on within its budgets."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from pathlib import Path

import pytest

from pipelines.crawl import CrawlStage
from tests.hostile_server import (
    Handler,
    HostileServer,
    drip,
    endless,
    failing_first,
    garbage,
    gzip_bomb,
    image,
    photograph,
    png_bomb,
    redirect,
    reply,
    reset,
    slowly,
)
from tests.pipelines.crawling import QUICK, crawl, url_table
from x2i.image import decode
from x2i.sample import ImageRecord
from x2i.store.tar import read_range

PHOTO = photograph()
MEGABYTE = 1 << 20

CASES: dict[str, tuple[Handler, str]] = {
    "/good.jpg": (image(PHOTO), "ok"),
    "/no-type.jpg": (reply(200, PHOTO), "ok"),
    "/png-called-jpeg.jpg": (image(photograph(format="PNG")), "ok"),
    "/gzipped.jpg": (reply(200, gzip.compress(PHOTO), {"Content-Encoding": "gzip"}), "ok"),
    "/html-called-jpeg.jpg": (image(b"<html><body>Not found, sorry</body></html>"), "not_an_image"),
    "/svg.jpg": (image(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "unsupported_format"),
    "/half.jpg": (image(PHOTO[: len(PHOTO) // 2]), "image_truncated"),
    "/bomb.png": (image(png_bomb(60000, 60000)), "too_many_pixels"),
    "/tiny.jpg": (image(photograph(side=8)), "too_small"),
    "/empty.jpg": (image(b""), "body_empty"),
    "/204.jpg": (reply(204), "body_empty"),
    "/404.jpg": (reply(404), "http_client_error"),
    "/410.jpg": (reply(410), "http_client_error"),
    "/403.jpg": (reply(403), "http_client_error"),
    "/500.jpg": (reply(500), "http_server_error"),
    "/503-then-ok.jpg": (failing_first(1, reply(503), image(PHOTO)), "ok"),
    "/503-then-ok-later.jpg": (failing_first(1, reply(503, headers={"Retry-After": "1"}), image(PHOTO)), "ok"),
    "/503-next-week.jpg": (reply(503, headers={"Retry-After": "600000"}), "http_server_error"),
    "/429.jpg": (reply(429, headers={"Retry-After": "0"}), "http_rate_limited"),
    "/429-tomorrow.jpg": (reply(429, headers={"Retry-After": "86400"}), "http_rate_limited"),
    "/reset.jpg": (reset, "connection_error"),
    "/reset-then-ok.jpg": (failing_first(1, reset, image(PHOTO)), "ok"),
    "/garbage.jpg": (garbage, "connection_error"),
    "/silent.jpg": (slowly(60), "timeout"),
    "/stalls.jpg": (slowly(60, after_head=True, data=PHOTO), "timeout"),
    "/drips.jpg": (drip(PHOTO, 0.2), "timeout"),
    "/endless.jpg": (endless, "body_too_large"),
    "/huge.jpg": (image(PHOTO + bytes(3 * MEGABYTE)), "body_too_large"),
    "/says-huge.jpg": (image(PHOTO, Content_Length="99999999999"), "body_too_large"),
    "/says-more.jpg": (image(PHOTO, Content_Length=str(len(PHOTO) + 100)), "body_truncated"),
    "/says-nonsense.jpg": (image(PHOTO, Content_Length="many"), "connection_error"),
    "/gzip-bomb.jpg": (reply(200, gzip_bomb(200), {"Content-Encoding": "gzip"}), "body_too_large"),
    "/gzip-cut.jpg": (reply(200, gzip_bomb(1)[:500], {"Content-Encoding": "gzip"}), "body_truncated"),
    "/gzip-not.jpg": (reply(200, PHOTO, {"Content-Encoding": "gzip"}), "bad_encoding"),
    "/brotli.jpg": (reply(200, PHOTO, {"Content-Encoding": "br"}), "bad_encoding"),
    "/to-good.jpg": (redirect("good.jpg"), "ok"),
    "/loop.jpg": (redirect("/loop.jpg"), "too_many_redirects"),
    "/to-private.jpg": (redirect("http://10.0.0.1/x.jpg"), "blocked_address"),
    "/to-metadata.jpg": (redirect("http://169.254.169.254/latest/meta-data/"), "blocked_address"),
    "/to-decimal.jpg": (redirect("http://167772161/x.jpg"), "blocked_address"),
    "/to-mapped.jpg": (redirect("http://[::ffff:10.0.0.1]/x.jpg"), "blocked_address"),
    "/to-file.jpg": (redirect("file:///etc/passwd"), "bad_url"),
    "/to-ftp.jpg": (redirect("ftp://127.0.0.1/x.jpg"), "bad_url"),
    "/to-nowhere.jpg": (reply(302), "http_client_error"),
    "/no-ai.jpg": (image(PHOTO, X_Robots_Tag="noai, noimageai"), "opt_out"),
    "/no-index-for-us.jpg": (image(PHOTO, X_Robots_Tag="x2i: noindex"), "opt_out"),
    "/no-index-for-others.jpg": (image(PHOTO, X_Robots_Tag="otherbot: noindex"), "ok"),
    "/tdm.jpg": (image(PHOTO, TDM_Reservation="1"), "opt_out"),
    "/tdm-0.jpg": (image(PHOTO, TDM_Reservation="0"), "ok"),
    "/content-usage.jpg": (image(PHOTO, Content_Usage="search=y, train-ai=n"), "opt_out"),
    "/private/secret.jpg": (image(PHOTO), "robots_disallowed"),
    "/to-secret.jpg": (redirect("/private/secret.jpg"), "robots_disallowed"),
}
ROBOTS = reply(200, b"User-agent: *\nDisallow: /private/\n")
ELSEWHERE = {
    "http://nosuchhost.invalid/a.jpg": "dns_error",
    "http://192.168.0.1/a.jpg": "blocked_address",
    "http://[::1]/a.jpg": "blocked_address",
    "http://user:secret@127.0.0.1/a.jpg": "bad_url",
    "http://127.0.0.1:99999/a.jpg": "bad_url",
    "not a url": "bad_url",
    "": "bad_url",
    "file:///etc/hostname": "bad_url",
}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def hostile_crawl(data_root: Path) -> dict[str, ImageRecord]:
    with HostileServer() as server:
        site = server.site({path: handler for path, (handler, _) in CASES.items()}, ROBOTS)
        urls = [site.url(path) for path in CASES] + list(ELSEWHERE)
        source = url_table(data_root / "urls.csv", urls)
        stage = CrawlStage(sources=(source,), max_bytes=2 * MEGABYTE, min_side=16, per_host=64, timeout=3, **QUICK)
        return {record.url.removeprefix(site.url("")): record for record in crawl(data_root, stage)}


def test_every_misbehaviour_is_stored_with_its_reason(hostile_crawl: dict[str, ImageRecord], data_root: Path) -> None:
    expected = {path: reason for path, (_, reason) in CASES.items()} | ELSEWHERE
    found = {url: str(record.reason or record.status) for url, record in hostile_crawl.items()}
    details = {url: record.detail for url, record in hostile_crawl.items() if found[url] != expected.get(url)}
    assert found == expected, details
    stored = [record for record in hostile_crawl.values() if record.status == "ok"]
    for record in stored:
        data = read_range(data_root / "images" / "00000.tar", record.offset, record.size)
        assert decode(data).shape == (record.height, record.width, 3)


def test_dropped_rows_keep_status_and_signal(hostile_crawl: dict[str, ImageRecord]) -> None:
    assert hostile_crawl["/404.jpg"].http_status == 404
    assert hostile_crawl["/410.jpg"].http_status == 410
    assert hostile_crawl["/half.jpg"].http_status == 200
    assert hostile_crawl["/no-ai.jpg"].opt_out == "x-robots-tag: noai"
    assert hostile_crawl["/tdm.jpg"].opt_out == "tdm-reservation: 1"
    assert hostile_crawl["/content-usage.jpg"].opt_out == "content-usage: train-ai=n"
    assert hostile_crawl["/no-ai.jpg"].status == "filtered"
    assert hostile_crawl["/404.jpg"].status == "failed"


def test_a_body_longer_than_announced_is_never_stored(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/a.jpg": image(PHOTO, Content_Length=str(len(PHOTO) - 100))})
    source = url_table(tmp_path / "urls.csv", [site.url("/a.jpg")])
    [record] = crawl(tmp_path / "data", CrawlStage(sources=(source,), **QUICK))
    # Which of the two depends on whether the surplus comes in the same packet.
    assert str(record.reason) in ("image_truncated", "connection_error")


def test_hostile_bodies_stay_within_memory_and_time(hostile_server: HostileServer, tmp_path: Path) -> None:
    bomb = reply(200, gzip_bomb(150), {"Content-Encoding": "gzip"})
    routes = {f"/{n}.jpg": endless for n in range(8)} | {f"/bomb{n}.jpg": bomb for n in range(8)}
    site = hostile_server.site({**routes, **{f"/pixels{n}.png": image(png_bomb(50000, 50000)) for n in range(8)}})
    urls = [site.url(path) for path in [*routes, *(f"/pixels{n}.png" for n in range(8))]]
    stage = CrawlStage(sources=(url_table(tmp_path / "urls.csv", urls),), max_bytes=2 * MEGABYTE, **QUICK)
    tracemalloc.start()
    started = time.monotonic()
    records = crawl(tmp_path / "data", stage)
    seconds = time.monotonic() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {str(record.reason) for record in records} == {"body_too_large", "too_many_pixels"}
    assert peak < 100 * MEGABYTE
    assert seconds < 30


def test_nothing_on_loopback_is_asked_unless_allowed(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/good.jpg": image(PHOTO)})
    urls = [f"http://{host}:{site.port}/good.jpg" for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1")]
    records = crawl(tmp_path / "data", CrawlStage(sources=(url_table(tmp_path / "urls.csv", urls),), timeout=2))
    assert [str(record.reason) for record in records] == ["blocked_address"] * 4
    assert not site.hits


ROBOTS_CASES: dict[str, tuple[Handler, str]] = {
    "404": (reply(404), "ok"),
    "403": (reply(403), "ok"),
    "empty": (reply(200, b""), "ok"),
    "all": (reply(200, b"User-agent: *\nDisallow: /\n"), "robots_disallowed"),
    "us": (reply(200, b"User-agent: x2i\nDisallow: /\n\nUser-agent: *\nAllow: /\n"), "robots_disallowed"),
    "others": (reply(200, b"User-agent: otherbot\nDisallow: /\n"), "ok"),
    "bom": (reply(200, b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /a\r\n"), "robots_disallowed"),
    "huge": (reply(200, b"User-agent: *\nDisallow: /a\n" + b"# long\n" * 400_000), "robots_disallowed"),
    "500": (reply(500), "robots_disallowed"),
    "reset": (reset, "connection_error"),
    "silent": (slowly(60), "timeout"),
    "moved": (redirect("/elsewhere.txt"), "robots_disallowed"),
    "loop": (redirect("/robots.txt"), "ok"),
    "private": (redirect("http://10.0.0.1/robots.txt"), "blocked_address"),
}


@pytest.mark.parametrize("case", ROBOTS_CASES)
def test_robots_txt_decides(hostile_server: HostileServer, tmp_path: Path, case: str) -> None:
    robots, expected = ROBOTS_CASES[case]
    elsewhere = reply(200, b"User-agent: *\nDisallow: /a\n")
    site = hostile_server.site({"/a.jpg": image(PHOTO), "/elsewhere.txt": elsewhere}, robots)
    source = url_table(tmp_path / "urls.csv", [site.url("/a.jpg")])
    stage = CrawlStage(sources=(source,), timeout=0.7 if case == "silent" else 20, **QUICK)
    [record] = crawl(tmp_path / "data", stage)
    assert str(record.reason or record.status) == expected, record.detail
    assert site.hits["/a.jpg"] == (1 if expected == "ok" else 0)


def test_robots_txt_is_asked_once_per_host_even_if_it_is_dead(hostile_server: HostileServer, tmp_path: Path) -> None:
    live = hostile_server.site({f"/{n}.jpg": image(PHOTO) for n in range(20)}, reply(200, b"User-agent: *\nAllow: /"))
    dead = hostile_server.site({}, reply(500))
    urls = [site.url(f"/{n}.jpg") for n in range(20) for site in (live, dead)]
    stage = CrawlStage(sources=(url_table(tmp_path / "urls.csv", urls),), partition_size=10, **QUICK)
    crawl(tmp_path / "data", stage)
    assert live.hits["/robots.txt"] == 1
    assert dead.hits["/robots.txt"] == 2  # once, and its one retry
    assert sum(dead.hits.values()) == 2


def test_ignore_robots_fetches_but_heeds_opt_out_headers(hostile_server: HostileServer, tmp_path: Path) -> None:
    routes = {"/a.jpg": image(PHOTO), "/b.jpg": image(PHOTO, X_Robots_Tag="noai")}
    site = hostile_server.site(routes, reply(200, b"User-agent: *\nDisallow: /\n"))
    source = url_table(tmp_path / "urls.csv", [site.url("/a.jpg"), site.url("/b.jpg")])
    records = crawl(tmp_path / "data", CrawlStage(sources=(source,), ignore_robots=True, **QUICK))
    assert [str(record.reason or record.status) for record in records] == ["ok", "opt_out"]
    assert not site.hits["/robots.txt"]


def test_a_host_gets_no_more_requests_at_once_than_allowed(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({f"/{n}.jpg": slowly(0.05, after_head=True, data=PHOTO) for n in range(24)})
    source = url_table(tmp_path / "urls.csv", [site.url(f"/{n}.jpg") for n in range(24)])
    records = crawl(tmp_path / "data", CrawlStage(sources=(source,), per_host=3, **QUICK))
    assert all(record.status == "ok" for record in records)
    assert site.most_at_once <= 3


def test_a_delay_spaces_the_requests_to_a_host(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({f"/{n}.jpg": image(PHOTO) for n in range(6)})
    source = url_table(tmp_path / "urls.csv", [site.url(f"/{n}.jpg") for n in range(6)])
    started = time.monotonic()
    crawl(tmp_path / "data", CrawlStage(sources=(source,), delay=0.1, **QUICK))
    assert time.monotonic() - started >= 0.6  # robots.txt and six images: six pauses


def test_the_user_agent_is_honest_and_replaceable(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/a.jpg": image(PHOTO)})
    source = url_table(tmp_path / "urls.csv", [site.url("/a.jpg")])
    crawl(tmp_path / "one", CrawlStage(sources=(source,), **QUICK))
    assert site.headers["/a.jpg"]["user-agent"].startswith("x2i/")
    crawl(tmp_path / "two", CrawlStage(sources=(source,), user_agent="MyLab/2 (+mailto:me@example.org)", **QUICK))
    assert site.headers["/a.jpg"]["user-agent"] == "MyLab/2 (+mailto:me@example.org)"
    assert site.headers["/robots.txt"]["user-agent"] == "MyLab/2 (+mailto:me@example.org)"
