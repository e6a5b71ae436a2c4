"""The request of a takedown: identities of images, as typed and in the forms in which crawl and store keep them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from x2i.crawl.planning.identity import content_uid, normal_url, plain_host, url_uid
from x2i.errors import UserError
from x2i.image import decode, phash, sha256
from x2i.options import Option
from x2i.reasons import DroppedError
from x2i.words import IMAGE_SUFFIXES

KINDS = ("url", "host", "sha256", "phash", "uid", "key")
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


@dataclass(frozen=True)
class RequestOptions:
    """A request as typed: values, or names of files that list them."""

    url: Annotated[tuple[str, ...], Option("Image of this URL or path; @FILE or a text file: one per line.")] = ()
    host: Annotated[tuple[str, ...], Option("Every image of this host and of hosts below it; or FILE.")] = ()
    sha256: Annotated[
        tuple[str, ...], Option("Every image with these bytes as fetched: 64 hex digits, or the picture.")
    ] = ()
    phash: Annotated[tuple[str, ...], Option("Every image that looks like this: 16 hex digits, or a picture.")] = ()
    uid: Annotated[tuple[str, ...], Option("The image with this uid.")] = ()
    key: Annotated[tuple[str, ...], Option("The image with this key, such as 00003-00017.")] = ()
    distance: Annotated[int, Option("Bits in which a --phash may differ.", ge=0, le=MAX_DISTANCE)] = 0
    listed: Annotated[
        Path | None,
        Option('A file with one image per line: "url https://...", "key 00003-00017".', flag="--from"),
    ] = None

    def request(self) -> Request:
        """Raises UserError for a value or a file that cannot be read, naming it."""
        named = {kind: list(_expanded(getattr(self, kind))) for kind in KINDS}
        for line in _text_lines(self.listed) if self.listed is not None else ():
            kind, _, value = line.partition(" ")
            if kind not in KINDS or not value.strip():
                expected = f"lines such as 'url https://...' ({', '.join(KINDS)})"
                raise UserError(f"{self.listed}: expected {expected}, found {line!r}")
            named[kind].append(value.strip())
        return read_request(named, self.distance)


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
    """Returns a URL as a dataset keeps it: without its fragment on the web; in a file, that names a member or frame.

    A path, with `file://` before it or not, becomes the URL of the file, as a crawl of its folder spells it.
    """
    if text.lower().startswith(("http://", "https://")):
        return normal_url(text)
    path = Path(text.removeprefix("file://"))
    is_path = path.is_file() if "://" in text else path.is_absolute() or path.is_file()
    return (path.parent.resolve() / path.name).as_uri() if is_path else text


def _hex(name: str, text: str) -> str:
    """Returns the digits as typed, or those of the picture whose file is named."""
    if len(text) < 256 and Path(text).is_file():
        return _hash_of(name, Path(text))
    digits = text.lower().removeprefix("0x")
    if not re.fullmatch(f"[0-9a-f]{{{_HEX[name]}}}", digits):
        raise UserError(f"takedown: {name}: expected {_HEX[name]} hex digits or a picture, found {text!r}")
    return digits


def _hash_of(name: str, path: Path) -> str:
    """Returns the sha256 or the perceptual hash of an image file, in hex."""
    try:
        data = path.read_bytes()
        return sha256(data) if name == "sha256" else f"{int(phash(decode(data))):016x}"
    except OSError as error:
        raise UserError(f"takedown: {name}: {path}: cannot be read: {error}") from error
    except DroppedError as error:
        raise UserError(f"takedown: {name}: {path}: not a picture that can be decoded ({error})") from error


def _host(text: str) -> str:
    host = plain_host(text)
    if not re.fullmatch(r"[^\s/:@]+|\[[0-9a-f:.]+\]", host):
        raise UserError(
            f"takedown: host: expected a name such as img.example.org without scheme or path, found {text!r}"
        )
    return host.strip("[]")


def _expanded(values: Iterable[str]) -> Iterator[str]:
    """Yields the values as typed; for @FILE, or the name of a text file that is there, its lines."""
    for value in values:
        if value.startswith("@"):
            yield from _text_lines(Path(value[1:]))
        elif "://" not in value and len(value) < 256 and _is_list(Path(value)):
            yield from _text_lines(Path(value))
        else:
            yield value


def _is_list(path: Path) -> bool:
    """Whether there is a file of text: an image of a folder that was crawled may be named by its path, too."""
    return path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES


def _text_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list: {error}") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
