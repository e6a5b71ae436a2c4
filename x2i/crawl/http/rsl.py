"""Really Simple Licensing (RSL 1.0): where a site names its license documents, and which permit free training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from protego import Protego
from yarl import URL

from x2i.crawl.http.optout import header_values
from x2i.xml_text import XmlError, local_name, parse_xml

MAX_RSL_BYTES = 512 * 1024
MEDIA_TYPE = "application/rsl+xml"
_MAX_CONTENTS = 1000
_MAX_LICENSES = 5
"""Documents of one robots.txt or response that are read."""
_TRAINING = frozenset({"all", "ai-all", "ai-train", "train-ai", "train-genai"})
"""Usages that include training, in RSL 1.0 and its drafts."""
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_PARAMETER = re.compile(r";\s*([\w*-]+)\s*=\s*(\"[^\"]*\"|[^\s\",;]+)")
_ROBOTS_LINE = re.compile(r"^\s*license\s*:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def robots_licenses(text: str) -> tuple[str, ...]:
    """Returns the targets of the `License:` lines of a robots.txt; they hold for every crawler."""
    return tuple(dict.fromkeys(_ROBOTS_LINE.findall(text)))[:_MAX_LICENSES]


def header_licenses(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the targets of `Link: <...>; rel="license"` headers that lead to RSL documents.

    Of a link without a type, the name tells: license.xml or rsl; a link to another kind of license is none.
    """
    found = []
    for value in header_values(headers, "Link"):
        for target, rest in _LINK.findall(value):
            parameters = {name.lower(): text.strip('"').strip().lower() for name, text in _PARAMETER.findall(rest)}
            if "license" in parameters.get("rel", "").split() and _is_rsl(target, parameters.get("type", "")):
                found.append(target.strip())
    return tuple(dict.fromkeys(found))[:_MAX_LICENSES]


def _is_rsl(target: str, media_type: str) -> bool:
    if media_type:
        return media_type.partition(";")[0].strip() == MEDIA_TYPE
    name = target.partition("?")[0].partition("#")[0].rpartition("/")[2].lower()
    return name.endswith(".xml") or "rsl" in name


@dataclass(frozen=True)
class RslContent:
    """The terms of one part of a site. origin: scheme and host, "" for any; path: a pattern as in robots.txt.

    refusal: why training is not permitted, "" if it is.
    """

    origin: str
    path: str
    pattern: Protego
    refusal: str

    def covers(self, url: URL) -> bool:
        """Whether these are the terms of `url`."""
        return self.origin in ("", str(url.origin())) and not self.pattern.can_fetch(str(url), "*")


@dataclass(frozen=True)
class RslTerms:
    """What a license document says; without contents it says nothing."""

    contents: tuple[RslContent, ...] = ()

    @classmethod
    def from_xml(cls, data: bytes) -> RslTerms:
        """Reads an RSL document or a feed with RSL elements. What is broken, or something else, states no terms."""
        try:
            root = parse_xml(data[:MAX_RSL_BYTES])
        except XmlError:
            return cls()
        contents = (_content(element) for element in _contents(root))
        return cls(tuple(one for one in contents if one is not None)[:_MAX_CONTENTS])

    def opt_out(self, url: str) -> str:
        """Returns the signal that refuses training on `url`, such as "rsl: ai-train is prohibited", or "".

        The longest path that covers `url` decides; of equal ones the refusal.
        """
        address = URL(url, encoded=True)
        covering = [one for one in self.contents if one.covers(address)]
        longest = max((len(one.path) for one in covering), default=0)
        refusals = [one.refusal for one in covering if len(one.path) == longest and one.refusal]
        return f"rsl: {refusals[0]}" if refusals else ""


def _contents(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    is_rsl = local_name(root) == "rsl"
    for element in root.iter():
        if local_name(element) == "content" and (is_rsl or "rslstandard.org" in element.tag):
            yield element


def _content(element: ElementTree.Element) -> RslContent | None:
    place = (element.get("url") or "").strip()
    origin, path = "", place
    if "://" in place:
        try:
            url = URL(place)
            origin, path = str(url.origin()), url.raw_path_qs
        except ValueError:
            return None
    path = "/" + path.lstrip("/")
    if not path.isprintable() or "#" in path:
        return None
    # Path patterns are those of robots.txt, so the same well-tested matcher reads them.
    return RslContent(origin, path, Protego.parse(f"User-agent: *\nDisallow: {path}"), _refusal(element))


def _refusal(content: ElementTree.Element) -> str:
    """Returns why a part of a site is not free for training, "" if one of its licenses makes it so, or none is stated.

    Terms for some users or countries are not looked at: who may train where is for the operator to know.
    """
    if (content.get("server") or "").strip():
        return "a license must be obtained from its server"
    refusals = [_license_refusal(one) for one in content if local_name(one) == "license"]
    return "" if "" in refusals or not refusals else refusals[0]


def _license_refusal(license: ElementTree.Element) -> str:
    if _TRAINING & set(_usages(license, "prohibits")):
        return "ai-train is prohibited"
    permitted = list(_usages(license, "permits"))
    if permitted and not _TRAINING & set(permitted):
        return "ai-train is not permitted"
    payments = [one for one in license if local_name(one) == "payment"]
    if not all(_is_free(one) for one in payments):
        return "ai-train has to be paid for"
    return ""


def _usages(license: ElementTree.Element, rule: str) -> Iterable[str]:
    for element in license:
        if local_name(element) == rule and (element.get("type") or "usage").strip().lower() == "usage":
            yield from re.split(r"[\s,]+", "".join(element.itertext()).strip().lower())


def _is_free(payment: ElementTree.Element) -> bool:
    kind = (payment.get("type") or "").strip().lower()
    return kind == "free" or (not kind and not len(payment))
