"""What someone asks to be taken down: identities of images, in the forms in which the crawl and the store keep them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from x2i.crawl.planning.identity import content_uid, normal_url, plain_host, url_uid
from x2i.errors import UserError

MAX_DISTANCE = 15
_HEX = {"sha256": 64, "phash": 16}


@dataclass(frozen=True)
class Request:
    """Images named by any of these. hosts: each with all hosts below it. phashes: 64-bit, matched within `distance`."""

    urls: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    phashes: frozenset[int] = frozenset()
    uids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    distance: int = 0

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self) if f.name != "distance")

    @property
    def source_uids(self) -> frozenset[str]:
        """The uids that the request names outright, through a URL, or through bytes as an import derives uids of them.

        Whether or not they are in the dataset.
        """
        return self.uids | {url_uid(url) for url in self.urls} | {content_uid(digest) for digest in self.sha256}


def read_request(named: Mapping[str, Iterable[str]], distance: int) -> Request:
    """Returns the request that texts make up. named: url, host, sha256, phash, uid, key -> values as typed.

    Raises UserError naming the value, what was found and what was expected.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise UserError(f"takedown: distance: expected 0 to {MAX_DISTANCE} bits, found {distance}")
    values = {name: [text.strip() for text in texts if text.strip()] for name, texts in named.items()}
    hexes = {name: frozenset(_hex(name, text) for text in values.get(name, ())) for name in _HEX}
    return Request(
        urls=frozenset(map(_url, values.get("url", ()))),
        hosts=frozenset(map(_host, values.get("host", ()))),
        sha256=hexes["sha256"],
        phashes=frozenset(int(text, 16) for text in hexes["phash"]),
        uids=frozenset(values.get("uid", ())),
        keys=frozenset(values.get("key", ())),
        distance=distance,
    )


def _url(text: str) -> str:
    """Returns a URL as a dataset keeps it: without its fragment on the web; in a file, that names a member or frame."""
    return normal_url(text) if text.lower().startswith(("http://", "https://")) else text


def _hex(name: str, text: str) -> str:
    digits = text.lower().removeprefix("0x")
    if not re.fullmatch(f"[0-9a-f]{{{_HEX[name]}}}", digits):
        raise UserError(f"takedown: {name}: expected {_HEX[name]} hex digits, found {text!r}")
    return digits


def _host(text: str) -> str:
    host = plain_host(text)
    if not re.fullmatch(r"[^\s/:@]+|\[[0-9a-f:.]+\]", host):
        raise UserError(
            f"takedown: host: expected a name such as img.example.org without scheme or path, found {text!r}"
        )
    return host.strip("[]")
