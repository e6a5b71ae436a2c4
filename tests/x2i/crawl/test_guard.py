"""The network guard judges addresses, however they are written."""

from __future__ import annotations

import asyncio

import pytest

from x2i.crawl.http.guard import AddressPolicy, parse_url, require_fetchable
from x2i.crawl.http.resolver import GuardedResolver
from x2i.errors import UserError
from x2i.reasons import DroppedError

REFUSED = """
    127.0.0.1 127.8.9.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 255.255.255.255
    224.0.0.1 240.0.0.1 192.0.2.1 198.18.0.1 ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd12::1 ff02::1 2001:db8::1
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1 2002:7f00:1:: 2002:c0a8:101::
    64:ff9b:1::1 ::ffff:0:7f00:1 fec0::1 3fff::1 5f00::1 4000::1 2001:0:808:808::f5ff:fffe 192.88.99.1 168.63.129.16
"""
PUBLIC = "8.8.8.8 1.1.1.1 93.184.216.34 2606:4700:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808"
LITERALS = """
    127.0.0.1 127.1 2130706433 0x7f000001 0x7f.0.0.1 017700000001 0177.0.0.1 [::1] [::ffff:7f00:1] [::]
    [0:0:0:0:0:0:0:1] 10.0.0.1. 192.168.257 0xA9FEA9FE 0
"""


@pytest.mark.parametrize("address", REFUSED.split())
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not AddressPolicy().permits(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_a_public_address_is_permitted(address: str) -> None:
    assert AddressPolicy().permits(address)


@pytest.mark.parametrize("host", LITERALS.split())
def test_a_number_in_any_notation_is_judged_before_connecting(host: str) -> None:
    with pytest.raises(DroppedError) as caught:
        require_fetchable(parse_url(f"http://{host}/x.jpg"), AddressPolicy())
    assert caught.value.verdict.reason == "blocked_address"


@pytest.mark.parametrize(
    "url", ["ftp://a.example/x", "gopher://a.example/", "javascript:alert(1)", "//a.example/x", "x"]
)
def test_only_http_is_fetched(url: str) -> None:
    with pytest.raises(DroppedError) as caught:
        require_fetchable(parse_url(url), AddressPolicy())
    assert caught.value.verdict.reason == "bad_url"


@pytest.mark.parametrize(
    "url", ["http://a@b.example/", "http://:x@b.example/", "https://b.example:22/", "http://b.example:0/"]
)
def test_user_names_and_ports_of_other_services_are_refused(url: str) -> None:
    with pytest.raises(DroppedError) as caught:
        require_fetchable(parse_url(url), AddressPolicy())
    assert caught.value.verdict.reason == "bad_url"


@pytest.mark.parametrize("path", ["/a/../b", "/a/%2e%2E/b", "/./b", "/a/.%2e/%2e/b"])
def test_dots_in_a_path_are_read_before_anyone_is_asked_about_it(path: str) -> None:
    assert str(parse_url(f"http://a.example{path}")) == "http://a.example/b"


def test_names_that_look_like_numbers_stay_names() -> None:
    for host in ("cafe.example", "dead.beef.example", "1.example", "a.b"):
        require_fetchable(parse_url(f"http://{host}/"), AddressPolicy())


def test_allowed_networks_open_exactly_themselves() -> None:
    policy = AddressPolicy.parse(["10.0.0.0/8", "fd00::/8"])
    assert policy.permits("10.1.2.3")
    assert policy.permits("::ffff:10.1.2.3")
    assert policy.permits("fd00::5")
    assert not policy.permits("127.0.0.1")
    assert not policy.permits("192.168.0.1")
    with pytest.raises(UserError, match="10.0.0.0/8"):
        AddressPolicy.parse(["10.0.0.300/8"])


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433"])
def test_the_resolver_hands_on_no_private_address(host: str) -> None:
    async def resolve() -> None:
        resolver = GuardedResolver(AddressPolicy())
        await resolver.resolve(host, 80)

    with pytest.raises(DroppedError) as caught:
        asyncio.run(resolve())
    assert caught.value.verdict.reason == "blocked_address"
