"""The identity of an image: a short digest that is the same whoever computes it, and that hides the URL itself."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from urllib.parse import urldefrag, urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from yarl import URL

from x2i.crawl.planning.hash_set import Prefixes

UID_DIGITS = 24
_DIGEST_BYTES = 32
_NOT_NORMAL = r"[^\x21\x22\x24-\x7e]"
"""What a URL may have that `normal_url` could change: spaces, control characters, # and everything beyond ASCII."""


def normal_url(url: str) -> str:
    """Returns `url` without its fragment and without surrounding space: two URLs equal in this are fetched once."""
    bare = url.strip()
    try:
        return urldefrag(bare).url
    except ValueError:  # what is no URL, such as http://[
        return bare.partition("#")[0]


def normal_urls(urls: pa.Array) -> pa.Array:
    """Returns `normal_url` of each; only those that it could change are looked at one by one."""
    odd = pc.match_substring_regex(urls, _NOT_NORMAL)
    if not pc.any(odd).as_py():
        return urls
    normalized = pa.array([normal_url(url) for url in urls.filter(odd).to_pylist()], pa.string())
    return pc.replace_with_mask(urls, odd, normalized)


def url_uid(url: str) -> str:
    """Returns the uid of an image that is fetched from `url`: 24 hex digits."""
    return text_uid(normal_url(url))


def text_uid(identity: str) -> str:
    """Returns the uid that belongs to an identity text: 24 hex digits of its sha256."""
    return content_uid(hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest())


def content_uid(sha256: str) -> str:
    """Returns the uid of an image that has no address, from the sha256 of its bytes in hex: 24 hex digits."""
    return sha256[:UID_DIGITS]


def identities(table: pa.Table, source: int, first_number: int) -> pa.Array:
    """Returns the identity text of each row of a SOURCE_SCHEMA table whose `url` is normal already.

    The URL. Of a row with a stable name, that name, so that moving a folder keeps the identity of its images; two
    folders of one name cannot be told apart by that, so the number of a later `source` is part of it. Of a row without
    a URL, its number, counted from `first_number`.
    """
    url, name = table["url"].combine_chunks(), table["name"].combine_chunks()
    named = pc.not_equal(name, "")
    if pc.any(named).as_py():
        prefix = f"file:{source}:" if source else "file:"
        url = pc.if_else(named, pc.binary_join_element_wise(prefix, name, ""), url)
    nowhere = pc.equal(url, "")
    if pc.any(nowhere).as_py():
        numbers = np.flatnonzero(nowhere.to_numpy(zero_copy_only=False)) + first_number
        url = pc.replace_with_mask(url, nowhere, pa.array([f"row:{source}:{n}" for n in numbers], pa.string()))
    return url


def digests(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """Returns the sha256 of each text: (rows, 32) bytes."""
    sha256 = hashlib.sha256
    joined = b"".join([sha256(value).digest() for value in texts.cast(pa.binary()).to_pylist()])
    return np.frombuffer(joined, np.uint8).reshape(-1, _DIGEST_BYTES)


def uids_of(digest: npt.NDArray[np.uint8]) -> pa.Array:
    """Returns the uids, 24 hex digits each, of (rows, 32) bytes of sha256."""
    text = digest[:, : UID_DIGITS // 2].tobytes().hex().encode()
    offsets = np.arange(0, len(text) + 1, UID_DIGITS, dtype=np.int32)
    return pa.StringArray.from_buffers(len(digest), pa.py_buffer(offsets), pa.py_buffer(text))


def prefixes_of(digest: npt.NDArray[np.uint8]) -> Prefixes:
    """Returns the first 64 bits of each digest."""
    return np.ascontiguousarray(digest[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def prefixes_of_uids(uids: pa.Array) -> Prefixes:
    """Returns the first 64 bits of each uid; what is no uid is left out."""
    uids = uids.filter(pc.equal(pc.binary_length(uids), UID_DIGITS))
    raw = np.frombuffer(bytes.fromhex("".join(uids.to_pylist())), np.uint8)
    return prefixes_of(raw.reshape(-1, UID_DIGITS // 2))


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
