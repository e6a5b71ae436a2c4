"""The identities of a batch of source rows: the same values as `x2i.crawl.planning.identity`, thousands at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.planning.hash_set import Prefixes
from x2i.crawl.planning.identity import normal_url

UID_DIGITS = 24
_DIGEST_BYTES = 32
_ODD = r"[^\x21\x22\x24-\x7e]"
"""What a URL may have that `normal_url` could change: spaces, control characters, # and everything beyond ASCII."""


def normal_urls(urls: pa.Array) -> pa.Array:
    """Returns `normal_url` of each; only those that it could change are looked at one by one."""
    odd = pc.match_substring_regex(urls, _ODD)
    if not pc.any(odd).as_py():
        return urls
    mended = pa.array([normal_url(url) for url in urls.filter(odd).to_pylist()], pa.string())
    return pc.replace_with_mask(urls, odd, mended)


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
        positions = np.flatnonzero(nowhere.to_numpy(zero_copy_only=False)) + first_number
        url = pc.replace_with_mask(url, nowhere, pa.array([f"row:{source}:{n}" for n in positions], pa.string()))
    return url


def digests(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """Returns the sha256 of each text: (rows, 32) bytes."""
    sha256 = hashlib.sha256
    values: Iterable[bytes] = texts.cast(pa.binary()).to_pylist()
    joined = b"".join([sha256(value).digest() for value in values])
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
    digits = "".join(uids.to_pylist())
    raw = np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(-1, UID_DIGITS // 2)
    return np.ascontiguousarray(raw[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
