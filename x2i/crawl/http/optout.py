"""What a site says about use for training, outside robots.txt: response headers and meta tags, in every common form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

OPT_OUT_DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none", "noml"})
"""Robots directives that mean: do not take this. "none" is short for "noindex, nofollow"."""

_VALUED_DIRECTIVES = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_AGENT = re.compile(r"[a-z0-9_*.-]+(/[a-z0-9_.-]*)?")
_TRAINING_USES = ("train-ai", "train-genai", "ai-train")
_WIDER_USES = ("all", "bots", "tdm", "ai", "genai")
"""Categories of earlier drafts that include training; one that names training itself counts before them."""
_YES, _NO = ("y", "yes", "?1"), ("n", "no", "?0")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def product_token(user_agent: str) -> str:
    """Returns the name by which sites address a crawler: "x2i" for "x2i/0.1.0 (...)"."""
    return re.split(r"[/\s(]", user_agent.strip(), maxsplit=1)[0].lower()


def header_opt_out(headers: Mapping[str, str], agent: str) -> str:
    """Returns the first opt-out signal in response `headers`, such as "x-robots-tag: noai", or "" if there is none.

    `headers` may be a multi-dictionary (a header can come several times); `agent` is our product token. Read are
    X-Robots-Tag, TDM-Reservation (TDM Reservation Protocol), Content-Usage (IETF AI preferences) and Content-Signal.
    """
    for value in header_values(headers, "X-Robots-Tag"):
        if directive := _robots_directive(value, agent):
            return f"x-robots-tag: {directive}"
    if any("1" in _split_directives(value) for value in header_values(headers, "TDM-Reservation")):
        return "tdm-reservation: 1"
    for name in ("Content-Usage", "Content-Signal"):
        for value in header_values(headers, name):
            if use := refused_training(value):
                return f"{name.lower()}: {use}"
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
    written the same way but names no crawler. Directives between which only a space or a semicolon stands count too.
    """
    applies = True
    for part in re.split("[,;]", value.lower()):
        name, colon, rest = part.partition(":")
        if colon and name.strip() in _VALUED_DIRECTIVES:
            continue
        if colon and _AGENT.fullmatch(name.strip()):
            applies = name.strip().partition("/")[0] in ("*", agent)
            part = rest
        found = [word for word in part.split() if word in OPT_OUT_DIRECTIVES]
        if applies and found:
            return found[0]
    return ""


def permits_training(preferences: str) -> bool | None:
    """Returns whether usage preferences ("search=y, train-ai=n") permit training; None if they do not say."""
    stated = _training_preferences(preferences)
    return all(setting in _YES for _, setting in stated) if stated else None


def refused_training(preferences: str) -> str:
    """Returns the preference that refuses training, such as "train-ai=n", or ""."""
    refusals = [f"{use}={setting}" for use, setting in _training_preferences(preferences) if setting in _NO]
    return refusals[0] if refusals else ""


def _training_preferences(preferences: str) -> list[tuple[str, str]]:
    """Returns what is stated about training in a structured-field dictionary (RFC 9651): uses and settings, in order.

    Keys that come twice are both kept, so that the one that refuses counts.
    """
    items = [item.partition(";")[0].partition("=") for item in _QUOTED.sub("", preferences.lower()).split(",")]
    found = [(use.strip(), setting.strip()) for use, _, setting in items if setting.strip() in _YES + _NO]
    for uses in (_TRAINING_USES, _WIDER_USES):
        stated = [(use, setting) for use, setting in found if use in uses]
        if stated:
            return stated
    return []


def _split_directives(content: str) -> list[str]:
    return [directive for directive in re.split(r"[\s,]+", content.lower()) if directive]


def header_values(headers: Mapping[str, str], name: str) -> list[str]:
    """Returns every value of the header `name`; `headers` may be a multi-dictionary."""
    if hasattr(headers, "getall"):
        return list(headers.getall(name, []))
    return [value for key, value in headers.items() if key.lower() == name.lower()]
