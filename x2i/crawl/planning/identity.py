"""The identity of a source: a short digest that is the same whoever computes it, and that hides the URL itself."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from urllib.parse import urldefrag, urlsplit

from yarl import URL


def normal_url(url: str) -> str:
    """Returns `url` without its fragment and without surrounding space: two URLs equal in this are fetched once."""
    bare = url.strip()
    try:
        return urldefrag(bare).url
    except ValueError:  # what is no URL, such as http://[
        return bare.partition("#")[0]


def url_uid(url: str) -> str:
    """Returns the uid of an image that is fetched from `url`: 24 hex digits."""
    return uid_of(normal_url(url))


def uid_of(identity: str) -> str:
    """Returns the uid that belongs to an identity text: 24 hex digits of its sha256."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def content_uid(sha256: str) -> str:
    """Returns the uid of an image that has no address, from the sha256 of its bytes in hex: 24 hex digits."""
    return sha256[:24]


def url_host(url: str) -> str:
    """Returns the host of a web address as `plain_host` writes it; "" for the user's own files and what is no URL."""
    try:
        parts = urlsplit(url)
        return plain_host(parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def plain_host(host: str) -> str:
    """Returns the one way to write a host: lower case, "xn--" for other scripts, no dot at the end.

    One that has no such form is only put in lower case.
    """
    if not host.isascii():
        with suppress(ValueError):  # of what is no host, such as a label of 80 letters
            host = URL.build(scheme="http", host=host).raw_host or host
    return host.lower().rstrip(".")
