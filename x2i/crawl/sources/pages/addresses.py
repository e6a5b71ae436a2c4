"""Addresses on a page: resolved as browsers resolve them, and which of them belong to one site."""

from __future__ import annotations

import re
from urllib.parse import urldefrag, urljoin, urlsplit

from yarl import URL

MAX_LENGTH = 8192
"""Characters; no server answers a longer URL."""
_DROPPED = re.compile(r"[\t\n\r\0]")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def absolute(base: str, address: str) -> str:
    """Returns `address` resolved against `base` without its fragment; "" for what no crawl reads.

    A page that lies in a file may name files; its addresses without a scheme that name a host are of the web.
    """
    address = _DROPPED.sub("", address.strip()).replace(" ", "%20")
    if not address or len(address) > MAX_LENGTH:
        return ""
    path, mark, query = address.partition("?")
    address = path.replace("\\", "/") + mark + query
    is_saved = base.startswith("file:")
    if is_saved and address.startswith("//"):
        address = f"https:{address}"
    try:
        url = urldefrag(urljoin(base, address)).url
        allowed = ("http", "https", "file") if is_saved else ("http", "https")
        parts = urlsplit(url)
        return url if parts.scheme in allowed and (parts.netloc or parts.scheme == "file") else ""
    except ValueError:
        return ""


def site_of(url: str) -> str:
    """Returns the site that `url` belongs to: its host, and its port if that is unusual; "" if there is none.

    http and https are one site, and so are a host and its "www." name; hosts in other alphabets count in one form.
    """
    try:
        parsed = URL(url)
        host, port = parsed.raw_host, parsed.port
    except (ValueError, UnicodeError):
        return ""
    if not host:
        return ""
    host = host.lower().rstrip(".").removeprefix("www.")
    return host if port == _DEFAULT_PORTS.get(parsed.scheme) else f"{host}:{port}"


def page_identity(url: str) -> str:
    """Returns `url` in the form by which two names of one page are seen to be equal."""
    try:
        parsed = URL(urldefrag(url).url)
        return str(parsed if parsed.raw_path != "/" else parsed.with_path("/", keep_query=True))
    except (ValueError, UnicodeError):
        return url
