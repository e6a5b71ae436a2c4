"""`x2i crawl --retry-failed`, as it is typed: what failed for a passing reason is asked for again, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.cli import main
from tests.support.crawling import stored_records, url_table
from tests.support.hostile_server import HostileServer, failing_first, image, photograph, redirect, reply, reset

PHOTO = photograph(side=48)
LATE = photograph(side=48, shift=30)
PATHS = (
    "/good.jpg",
    "/404.jpg",
    "/500-then-ok.jpg",
    "/no-ai.jpg",
    "/429-then-ok.jpg",
    "/broken.jpg",
    "/429-then-404.jpg",
    "/reset-then-ok.jpg",
    "/cut-then-ok.jpg",
    "/still-500.jpg",
    "/moved.jpg",
)


@dataclass
class Typed:
    """Types `x2i crawl` and reads what it prints."""

    screen: pytest.CaptureFixture[str]

    def __call__(self, source: str, out: Path, *options: str) -> tuple[int, str]:
        """Returns how many images are stored, and what was printed for people."""
        fixed = ["--out", str(out), "--executor", "inline", "--allow-net", "127.0.0.0/8", "--retries", "0", "--json"]
        with pytest.raises(SystemExit) as end:
            main(["crawl", source, *fixed, "--partition-size", "4", *options])
        printed = self.screen.readouterr()
        assert end.value.code in (0, None), printed.err
        return json.loads(printed.out)["stages"][0]["counts"]["ok"], printed.err


@pytest.fixture
def x2i_crawl(capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(capsys)


def test_only_what_failed_for_a_passing_reason_is_asked_for_again(
    hostile_server: HostileServer, tmp_path: Path, x2i_crawl: Typed
) -> None:
    site = hostile_server.site(
        {
            "/good.jpg": image(PHOTO),
            "/404.jpg": reply(404),
            "/no-ai.jpg": image(PHOTO, X_Robots_Tag="noai"),
            "/broken.jpg": image(b"<html>"),
            "/500-then-ok.jpg": failing_first(1, reply(500), image(LATE)),
            "/429-then-ok.jpg": failing_first(1, reply(429), image(LATE)),
            "/429-then-404.jpg": failing_first(1, reply(429), reply(404)),
            "/reset-then-ok.jpg": failing_first(4, reset, image(LATE)),
            "/cut-then-ok.jpg": failing_first(1, image(LATE, Content_Length="99999"), image(LATE)),
            "/still-500.jpg": reply(500),
            "/moved.jpg": redirect("/500-again.jpg"),
            "/500-again.jpg": failing_first(1, reply(500), image(LATE)),
        }
    )
    away = hostile_server.site({"/a.jpg": image(LATE)}, failing_first(1, reply(503), reply(404)))
    source = url_table(tmp_path / "urls.csv", [*map(site.url, PATHS), away.url("/a.jpg")])

    assert x2i_crawl(source, tmp_path / "data")[0] == 1
    asked = dict(site.hits)
    assert x2i_crawl(source, tmp_path / "data", "--retry-failed")[0] == 7
    reasons = [str(record.reason or "ok") for record in stored_records(tmp_path / "data")]
    assert sorted(reason for reason in reasons if reason != "ok") == [
        "http_client_error",
        "http_client_error",
        "http_server_error",
        "not_an_image",
        "opt_out",
    ]
    for path in ("/good.jpg", "/404.jpg", "/no-ai.jpg", "/broken.jpg"):
        assert site.hits[path] == asked[path] == 1

    x2i_crawl(source, tmp_path / "straight")
    for kept in sorted((tmp_path / "data" / "images").iterdir()):
        assert kept.read_bytes() == (tmp_path / "straight" / "images" / kept.name).read_bytes(), kept.name


@pytest.mark.parametrize(("options", "is_asked"), [((), True), (("--contact", "me@lab.example"), False)])
def test_who_leaves_no_contact_is_asked_for_one(
    hostile_server: HostileServer, tmp_path: Path, x2i_crawl: Typed, options: tuple[str, ...], is_asked: bool
) -> None:
    site = hostile_server.site({"/a.jpg": image(PHOTO)})
    _, told = x2i_crawl(url_table(tmp_path / "urls.csv", [site.url("/a.jpg")]), tmp_path / "data", *options)
    assert ("--contact" in told) is is_asked
    assert ("+me@lab.example)" in site.headers["/a.jpg"]["user-agent"]) is not is_asked


def test_a_folder_needs_no_contact(tmp_path: Path, x2i_crawl: Typed) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(PHOTO)
    _, told = x2i_crawl(str(tmp_path / "photos"), tmp_path / "data")
    assert "--contact" not in told
