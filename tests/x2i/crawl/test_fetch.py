"""Fetching: what is asked of a host, how often, and by which address."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.support.hostile_server import (
    HostileServer,
    Site,
    failing_first,
    image,
    photograph,
    redirect,
    reply,
    reset,
    slowly,
)
from x2i.crawl.http import fetch as fetching
from x2i.crawl.http import permission
from x2i.crawl.http.fetch import Fetched, Fetcher
from x2i.crawl.http.guard import AddressPolicy
from x2i.crawl.http.hosts import HostRegistry
from x2i.crawl.http.outcome import FetchDropped
from x2i.crawl.http.policy import DEFAULT_USER_AGENT, FetchPolicy
from x2i.crawl.http.resolver import GuardedResolver
from x2i.reasons import Reason

PHOTO = photograph(side=32)
LOOPBACK = ("127.0.0.0/8",)


def fetch_all(urls: list[str], policy: FetchPolicy, hosts: HostRegistry) -> list[Fetched | FetchDropped]:
    """Fetches one URL after the other."""

    async def run() -> list[Fetched | FetchDropped]:
        found = []
        async with Fetcher(policy, hosts) as fetcher:
            for url in urls:
                async with fetcher.get(url) as outcome:
                    found.append(outcome)
        return found

    return asyncio.run(run())


def outcomes(urls: list[str], policy: FetchPolicy, hosts: HostRegistry) -> list[str]:
    """Returns "ok" or the reason and detail of each URL's fetch."""
    found = fetch_all(urls, policy, hosts)
    return ["ok" if isinstance(outcome, Fetched) else f"{outcome.reason}: {outcome.detail}" for outcome in found]


def policy(**options: object) -> FetchPolicy:
    return FetchPolicy(**{"allow_net": LOOPBACK, "retries": 0, "backoff": 0.01, **options})  # type: ignore[arg-type]


def images(server: HostileServer, count: int, robots: Mapping[str, str] | None = None) -> Site:
    rules = reply(200, b"User-agent: *\nAllow: /\n", robots or {})
    return server.site({f"/{n}.jpg": image(PHOTO) for n in range(count)}, rules)


def test_rules_are_asked_for_once_and_again_when_they_are_old(
    hostile_server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, site = HostRegistry(), images(hostile_server, 3, {"Cache-Control": "public, max-age=1"})
    urls = [site.url(f"/{n}.jpg") for n in range(3)]
    assert outcomes(urls, policy(), hosts) == outcomes(urls, policy(), hosts) == ["ok"] * 3
    assert (site.hits["/robots.txt"], site.hits["/.well-known/tdmrep.json"]) == (
        1,
        1,
    )  # a minute at least, whatever it says
    monkeypatch.setattr(permission, "SHORTEST_KEPT", 0.0)
    hosts = HostRegistry()
    outcomes(urls, policy(), hosts)
    time.sleep(1.05)
    outcomes(urls, policy(), hosts)
    assert (site.hits["/robots.txt"], site.hits["/.well-known/tdmrep.json"]) == (3, 2)


def test_tdmrep_is_not_asked_for_where_robots_closes_it_or_the_policy_leaves_it_out(
    hostile_server: HostileServer,
) -> None:
    closed = hostile_server.site({"/0.jpg": image(PHOTO)}, reply(200, b"User-agent: *\nDisallow: /.well-known/\n"))
    open_ = images(hostile_server, 1)
    assert outcomes([closed.url("/0.jpg")], policy(), HostRegistry()) == ["ok"]
    assert outcomes([open_.url("/0.jpg")], policy(tdmrep=False), HostRegistry()) == ["ok"]
    assert not closed.hits["/.well-known/tdmrep.json"] + open_.hits["/.well-known/tdmrep.json"]


def test_a_silent_host_is_left_alone_and_its_rows_end_alike(hostile_server: HostileServer) -> None:
    site = hostile_server.site({f"/{n}.jpg": reset for n in range(20)})
    found = outcomes([site.url(f"/{n}.jpg") for n in range(20)], policy(give_up_after=5), HostRegistry())
    assert len(set(found)) == 1
    assert found[0].startswith("connection_error")
    assert [n for n in range(20) if site.hits[f"/{n}.jpg"]] == [0, 1, 2, 3, 4]


def test_a_dead_host_gives_the_same_rows_however_it_is_met() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        urls = [f"http://127.0.0.1:{taken.getsockname()[1]}/{n}.jpg" for n in range(12)]
        together = outcomes(urls, policy(ignore_robots=True), HostRegistry())
        apart = [outcomes([url], policy(ignore_robots=True), HostRegistry())[0] for url in urls]
        asked_for_robots = outcomes(urls, policy(), HostRegistry())
    assert together == apart
    assert len(set(together)) == len(set(asked_for_robots)) == 1


def test_after_the_pause_a_host_that_is_back_is_asked_again(hostile_server: HostileServer) -> None:
    late = {f"/{n}.jpg": failing_first(4, reset, image(PHOTO)) for n in range(3)}
    site = hostile_server.site({**late, "/3.jpg": image(PHOTO)})
    hosts, quick = HostRegistry(), policy(give_up_after=2, leave_alone=0.2)
    assert [text[:4] for text in outcomes([site.url(f"/{n}.jpg") for n in (0, 1, 3)], quick, hosts)] == ["conn"] * 3
    assert not site.hits["/3.jpg"]
    time.sleep(0.25)
    assert outcomes([site.url("/3.jpg")], quick, hosts) == ["ok"]


def test_connections_closed_without_a_word_use_up_no_attempt(hostile_server: HostileServer) -> None:
    waves, at_once = 30, 16
    paths = [[f"/{wave}-{n}.jpg" for n in range(at_once)] for wave in range(waves)]
    site = hostile_server.site({path: slowly(0.0, after_head=True, data=PHOTO) for wave in paths for path in wave})

    async def run() -> list[bool]:
        found: list[bool] = []
        async with Fetcher(policy(retries=0, ignore_robots=True, per_host=at_once), HostRegistry()) as fetcher:

            async def fetch(path: str) -> bool:
                async with fetcher.get(site.url(path)) as outcome:
                    return isinstance(outcome, Fetched)

            for wave in paths:
                found += await asyncio.gather(*(fetch(path) for path in wave))
                time.sleep(0.002)  # the loop does not look while the server closes
        return found

    assert all(asyncio.run(run()))


def test_a_host_that_asks_for_a_long_rest_gets_it(hostile_server: HostileServer) -> None:
    site = hostile_server.site({"/a.jpg": reply(429, headers={"Retry-After": "86400"}), "/b.jpg": image(PHOTO)})
    found = outcomes([site.url("/a.jpg"), site.url("/b.jpg")], policy(), HostRegistry())
    assert [text.partition(":")[0] for text in found] == ["http_rate_limited"] * 2
    assert not site.hits["/b.jpg"]


@pytest.mark.parametrize("answer", [reply(429, headers={"Retry-After": "86400"}), reset], ids=["rest", "dead"])
def test_fetches_that_wait_their_turn_are_spared_a_host_that_is_to_be_left_alone(
    hostile_server: HostileServer, answer: Any
) -> None:
    site = hostile_server.site({f"/{n}.jpg": answer for n in range(60)})

    async def run() -> list[str]:
        async with Fetcher(policy(retries=0, per_host=2, give_up_after=4), HostRegistry()) as fetcher:

            async def fetch(n: int) -> str:
                async with fetcher.get(site.url(f"/{n}.jpg")) as outcome:
                    assert not isinstance(outcome, Fetched)
                    return outcome.reason

            return await asyncio.gather(*(fetch(n) for n in range(60)))

    assert len(set(asyncio.run(run()))) == 1
    asked = [request for request in site.log if request.path != "/robots.txt"]
    assert len({request.path for request in asked}) <= 6


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(hostile_server: HostileServer, form: str) -> None:
    wait = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)  # whole seconds: at least one
    site = hostile_server.site({"/a.jpg": failing_first(1, reply(503, headers={"Retry-After": wait}), image(PHOTO))})
    assert outcomes([site.url("/a.jpg")], policy(retries=1), HostRegistry()) == ["ok"]
    first, second = (request for request in site.log if request.path == "/a.jpg")
    assert second.start - first.end > 0.9


def test_each_hop_asks_the_new_host_for_permission(hostile_server: HostileServer) -> None:
    closed = hostile_server.site({"/a.jpg": image(PHOTO)}, reply(200, b"User-agent: *\nDisallow: /\n"))
    start = hostile_server.site({"/a.jpg": redirect(closed.url("/a.jpg"))})
    assert outcomes([start.url("/a.jpg")], policy(), HostRegistry())[0].startswith("robots_disallowed")
    assert dict(closed.hits) == {"/robots.txt": 1}


def test_a_redirect_that_opts_out_itself_is_not_followed(hostile_server: HostileServer) -> None:
    refusing = reply(302, headers={"Location": "/b.jpg", "X-Robots-Tag": "noai"})
    site = hostile_server.site({"/a.jpg": refusing, "/b.jpg": image(PHOTO)})
    (end,) = fetch_all([site.url("/a.jpg")], policy(), HostRegistry())
    assert end == FetchDropped(Reason.OPT_OUT, "x-robots-tag: noai", 302, "x-robots-tag: noai")
    assert "/b.jpg" not in site.hits


def test_redirects_without_end_are_told_with_the_last_status(hostile_server: HostileServer) -> None:
    site = hostile_server.site({"/a.jpg": redirect("/b.jpg", 301), "/b.jpg": redirect("/a.jpg", 307)})
    (end,) = fetch_all([site.url("/a.jpg")], policy(max_redirects=2), HostRegistry())
    assert end == FetchDropped(Reason.TOO_MANY_REDIRECTS, "more than 2", 301)
    assert (site.hits["/a.jpg"], site.hits["/b.jpg"]) == (2, 1)


@pytest.mark.parametrize("path", ["/a%28b%29%2C%7E%3A.jpg", "/a.jpg?u=http%3A%2F%2Fb%2Fc&s=%28%2A+%20", "/caf%e9.jpg"])
def test_a_url_is_asked_for_in_its_own_spelling(hostile_server: HostileServer, path: str) -> None:
    site = hostile_server.site({path: image(PHOTO), "/moved.jpg": redirect(path)})
    assert outcomes([site.url(path), site.url("/moved.jpg")], policy(), HostRegistry()) == ["ok"] * 2
    assert site.hits[path] == 2


def test_a_raw_byte_in_a_redirect_is_escaped_and_not_lost(hostile_server: HostileServer) -> None:
    site = hostile_server.site({"/moved.jpg": redirect("/caf\xe9 |.jpg"), "/caf%E9%20%7C.jpg": image(PHOTO)})
    assert outcomes([site.url("/moved.jpg")], policy(), HostRegistry()) == ["ok"]


def test_a_dot_behind_the_host_costs_the_host_nothing(hostile_server: HostileServer) -> None:
    site = images(hostile_server, 2)
    dotted = site.url("/0.jpg").replace("127.0.0.1", "127.0.0.1.")
    assert outcomes([dotted, site.url("/1.jpg")], policy(), HostRegistry()) == ["ok"] * 2


def test_large_bodies_that_wait_for_memory_are_not_taken_for_slow(
    hostile_server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGE_BODIES_AT_ONCE", 1)
    body = PHOTO + bytes(4 * fetching.LARGE_BODY)
    sites = [hostile_server.site({"/0.jpg": image(body)}) for _ in range(6)]

    async def run() -> list[int | str]:
        async def fetch(site: Site) -> int | str:
            async with fetcher.get(site.url("/0.jpg")) as outcome:
                await asyncio.sleep(2)  # decoding it, say: six of them take longer than the timeout
                return len(outcome.data) if isinstance(outcome, Fetched) else outcome.detail

        async with Fetcher(policy(timeout=8.0)) as fetcher:
            return await asyncio.gather(*map(fetch, sites))

    assert asyncio.run(run()) == [len(body)] * 6


def test_a_proxy_of_the_environment_is_not_used(hostile_server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, site = images(hostile_server, 0), images(hostile_server, 1)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url(""))
    assert outcomes([site.url("/0.jpg")], policy(), HostRegistry()) == ["ok"]
    assert not proxy.hits


class Rebinding(AbstractResolver):
    """A name server that gives another address each time it is asked."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses[min(self.asked, len(self.addresses) - 1)]
        self.asked += 1
        return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        return None


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    hostile_server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = images(hostile_server, 2)
    names = Rebinding(["127.0.0.1", "10.0.0.1"])
    monkeypatch.setattr(fetching, "GuardedResolver", lambda addresses: GuardedResolver(addresses, names))
    urls = [f"http://rebinding.example:{site.port}/{n}.jpg" for n in range(2)]
    assert outcomes(urls, policy(), HostRegistry()) == ["ok", "ok"]
    assert names.asked == 1


def test_a_name_that_turns_private_is_refused_before_any_connection(
    hostile_server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = images(hostile_server, 1)
    names = Rebinding(["127.0.0.1"])
    monkeypatch.setattr(fetching, "GuardedResolver", lambda addresses: GuardedResolver(addresses, names))
    [found] = outcomes([f"http://rebinding.example:{site.port}/0.jpg"], policy(allow_net=()), HostRegistry())
    assert found.startswith("blocked_address")
    assert not site.hits
    assert not AddressPolicy().permits("127.0.0.1")


def test_one_connection_serves_many_requests(hostile_server: HostileServer, tmp_path: Path) -> None:
    connections = 0

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            while await reader.readline():
                while (await reader.readline()).strip():
                    pass
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Fetcher(policy(), HostRegistry(tmp_path)) as fetcher:
            for number in range(20):
                async with fetcher.get(f"http://127.0.0.1:{port}/{number}.jpg") as outcome:
                    assert isinstance(outcome, Fetched)
        server.close()

    asyncio.run(run())
    assert connections == 1


def test_what_has_ended_holds_nothing_open(hostile_server: HostileServer) -> None:
    """Many crawls may run in one process, and the collector of cycles seldom comes by."""
    gc.disable()
    try:
        hosts = HostRegistry()
        site = images(hostile_server, 1)
        assert outcomes([site.url("/0.jpg")], policy(delay=0.01), hosts) == ["ok"]
        alive = weakref.ref(hosts)
        del hosts
        assert alive() is None
    finally:
        gc.enable()


def test_a_contact_becomes_part_of_the_user_agent() -> None:
    assert "+https://lab.example/crawl)" in FetchPolicy(contact="https://lab.example/crawl").user_agent_header
    assert FetchPolicy(user_agent="MyLab/1", contact="me@lab.example").user_agent_header == "MyLab/1 (+me@lab.example)"
    assert FetchPolicy(user_agent="MyLab/1").user_agent_header == "MyLab/1"
    assert "no contact" in DEFAULT_USER_AGENT
