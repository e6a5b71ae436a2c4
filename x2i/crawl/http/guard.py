"""The network guard: which addresses a crawl may connect to, in whatever form a URL writes them."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from yarl import URL

from x2i.errors import UserError
from x2i.reasons import DroppedError, Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_IPV6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_NEVER_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.88.99.0/24",  # 6to4 relays, withdrawn by RFC 7526
        "168.63.129.16/32",  # the host of a virtual machine, as seen from inside, at one cloud provider
        "3fff::/20",  # for documentation, RFC 9637; not known to Python 3.11
    )
)


_OTHER_SERVICES = frozenset({21, 22, 23, 25, 53, 69, 110, 111, 119, 135, 139, 143, 389, 445, 465, 514, 587, 993, 995})
_OTHER_SERVICES |= {2049, 3306, 5432, 6379, 6667, 11211, 27017}
"""Ports of mail, shells, files and databases, to which an HTTP request would be an attack or a nuisance."""

_URL_CHARACTERS = "%!$&'()*+,;=:@/?"
"""What a path or query may hold beside letters, digits and "-._~" (RFC 3986 section 3.3)."""
_ESCAPED_DOTS = re.compile(r"(?<=/)(?:\.|%2e){1,2}(?=/|\Z)", re.IGNORECASE)


@dataclass(frozen=True)
class AddressPolicy:
    """Lets through public addresses, and those in `allowed` networks."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, networks: Sequence[str]) -> AddressPolicy:
        """Reads CIDR texts such as "127.0.0.0/8". Raises UserError for one that is none."""
        try:
            return cls(tuple(ipaddress.ip_network(text, strict=False) for text in networks))
        except ValueError as error:
            raise UserError(f"--allow-net: {error}; expected a network such as 10.0.0.0/8 or fd00::/8") from error

    def permits(self, address: str) -> bool:
        """Whether the IP `address` may be connected to. An IPv6 address that carries an IPv4 one is judged as that."""
        parsed = ipaddress.ip_address(address.partition("%")[0])
        carried = _carried_ipv4(parsed)
        for one in (parsed, carried):
            if one is not None and any(one in network for network in self.allowed if network.version == one.version):
                return True
        return _is_public(parsed if carried is None else carried)

    def require(self, address: str, host: str) -> None:
        """Raises DroppedError(BLOCKED_ADDRESS) unless `address` is permitted."""
        if not self.permits(address):
            why = f"{host} is {address}, which is not public (--allow-net opens a network)"
            raise DroppedError(Reason.BLOCKED_ADDRESS, why)


def require_fetchable(url: URL, policy: AddressPolicy) -> None:
    """Checks a URL before it is asked for; called again at every redirect.

    Raises DroppedError: BAD_URL for a scheme other than http(s), no host, a user name in it or the port of another
    service; BLOCKED_ADDRESS for an address written as a number in any of the forms that C libraries read (127.1,
    0x7f000001, 017700000001, ::1).
    """
    if url.scheme not in ("http", "https"):
        raise DroppedError(Reason.BAD_URL, f"scheme {url.scheme!r}; only http and https are fetched")
    host = _host(url)
    if not host:
        raise DroppedError(Reason.BAD_URL, "no host")
    if url.user or url.password:
        raise DroppedError(Reason.BAD_URL, "user names in URLs are not sent")
    if url.port in _OTHER_SERVICES or url.port == 0:
        raise DroppedError(Reason.BAD_URL, f"port {url.port} belongs to another service than the web")
    literal = _literal_address(host)
    if literal is not None:
        policy.require(literal, host)


def parse_url(text: str) -> URL:
    """Parses a URL as written in a source or a redirect; it will be asked for in that spelling, without its fragment.

    A dot at the end of the host goes: it names no other host. Raises DroppedError(BAD_URL).
    """
    try:
        url = URL(text.strip())
        _ = url.port
        if (host := url.raw_host or "").endswith("."):
            url = url.with_host(host.rstrip("."))
        if url.absolute:
            return url.join(_as_written(text.strip()))
    except (ValueError, TypeError, UnicodeError) as error:
        raise DroppedError(Reason.BAD_URL, str(error)[:200]) from error
    raise DroppedError(Reason.BAD_URL, "not an absolute http(s) URL")


def _as_written(text: str) -> URL:
    """Returns the path and query of a URL; what no URL may hold is escaped, and no escape is taken out.

    Signatures cover the very spelling, and servers that redirect to it would do so without end. Only dots are read, as
    browsers do, so that no path is hidden from robots.txt.
    """
    url = URL(text, encoded=True)
    path = _ESCAPED_DOTS.sub(lambda found: found[0].lower().replace("%2e", "."), url.raw_path or "/")
    path, query = (quote(part, _URL_CHARACTERS, errors="surrogateescape") for part in (path, url.raw_query_string))
    return URL.build(path=path, query_string=query, encoded=True)


def _host(url: URL) -> str:
    try:
        return url.host or ""
    except UnicodeError as error:  # an "xn--" name that stands for nothing
        raise DroppedError(Reason.BAD_URL, f"host {(url.raw_host or '')[:100]!r} cannot be decoded") from error


def _literal_address(host: str) -> str | None:
    """Returns the IP address that `host` writes as a number, in standard or legacy form, or None for a name."""
    bare = host.strip("[]").rstrip(".")
    with suppress(ValueError):  # of what is no address in standard form
        return str(ipaddress.ip_address(bare.partition("%")[0]))
    if not bare or not all(_is_number(part) for part in bare.split(".")):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except OSError:
        return None


def _is_number(text: str) -> bool:
    digits = text[2:] if text[:2].lower() == "0x" else text
    return bool(digits) and all(c in "0123456789abcdefABCDEF" for c in digits)


def _is_public(address: Address) -> bool:
    if address.version == 6 and address not in _IPV6_PUBLIC:
        return False
    if any(address in network for network in _NEVER_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """Returns the IPv4 address inside an IPv4-mapped, IPv4-compatible, 6to4, Teredo or NAT64 IPv6 address."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 0xFFFF):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
