"""What a site says about use for training, outside robots.txt: response headers and meta tags, in every common form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

OPT_OUT_DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none", "noml"})
"""Robots directives that mean: do not take this. "none" is short for "noindex, nofollow"."""

_VALUED_DIRECTIVES = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_AGENT = re.compile(r"[a-z0-9_*.-]+")
_TRAINING_USES = ("train-ai", "train-genai")


def product_token(user_agent: str) -> str:
    """Returns the name by which sites address a crawler: "x2i" for "x2i/0.1.0 (...)"."""
    return re.split(r"[/\s(]", user_agent.strip(), maxsplit=1)[0].lower()


def header_opt_out(headers: Mapping[str, str], agent: str) -> str:
    """Returns the first opt-out signal in response `headers`, such as "x-robots-tag: noai", or "" if there is none.

    `headers` may be a multi-dictionary (a header can come several times); `agent` is our product token. Read are
    X-Robots-Tag, TDM-Reservation (TDM Reservation Protocol) and Content-Usage (IETF AI preferences).
    """
    for value in _values(headers, "X-Robots-Tag"):
        if directive := _robots_directive(value, agent):
            return f"x-robots-tag: {directive}"
    if any(value.strip() == "1" for value in _values(headers, "TDM-Reservation")):
        return "tdm-reservation: 1"
    for value in _values(headers, "Content-Usage"):
        if use := _forbidden_use(value):
            return f"content-usage: {use}=n"
    return ""


def meta_opt_out(metas: Iterable[tuple[str, str]], agent: str) -> str:
    """Returns the first opt-out signal in a page's <meta name content> pairs, or ""."""
    for name, content in metas:
        name = name.strip().lower()
        if name in ("robots", agent):
            found = [d for d in _split_directives(content) if d in OPT_OUT_DIRECTIVES]
            if found:
                return f"meta {name}: {found[0]}"
        if name == "tdm-reservation" and content.strip() == "1":
            return "meta tdm-reservation: 1"
    return ""


def meta_nofollow(metas: Iterable[tuple[str, str]], agent: str) -> bool:
    """Whether a page's meta tags ask that its links not be followed."""
    return any(
        name.strip().lower() in ("robots", agent) and {"nofollow", "none"} & set(_split_directives(content))
        for name, content in metas
    )


def _robots_directive(value: str, agent: str) -> str:
    """Returns the opt-out directive in one X-Robots-Tag value that is meant for everyone or for `agent`, or "".

    A name and a colon limit what follows to one crawler ("otherbot: noindex, x2i: noai"); "unavailable_after: date" is
    written the same way but names no crawler.
    """
    applies = True
    for part in value.lower().split(","):
        directive = part.strip()
        name, colon, rest = directive.partition(":")
        if colon and name.strip() not in _VALUED_DIRECTIVES and _AGENT.fullmatch(name.strip()):
            applies = name.strip() in ("*", agent)
            directive = rest.strip()
        if applies and directive in OPT_OUT_DIRECTIVES:
            return directive
    return ""


def _forbidden_use(value: str) -> str:
    """Returns which training use a Content-Usage value (a structured-field dictionary) forbids, or ""."""
    for item in value.lower().split(","):
        name, _, setting = item.partition(";")[0].partition("=")
        if name.strip() in _TRAINING_USES and setting.strip() == "n":
            return name.strip()
    return ""


def _split_directives(content: str) -> list[str]:
    return [directive for directive in re.split(r"[\s,]+", content.lower()) if directive]


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    if hasattr(headers, "getall"):
        return list(headers.getall(name, []))
    return [value for key, value in headers.items() if key.lower() == name.lower()]
