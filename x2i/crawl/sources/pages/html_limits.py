"""Markup that can be parsed in reasonable time: nesting beyond all sense is taken out of a page."""

from __future__ import annotations

import re
from collections import Counter

MAX_DEPTH = 512
"""Browsers nest no deeper either."""
MAX_FORMATTING = 32
MAX_STEPS = 500_000_000
"""A parser walks up its stack of open elements at most tags, about 4 ns a step; real pages take a few million."""
_TOKEN = re.compile(r"<!--|<(/?)([a-zA-Z][^\s/>]*)")
_ATTRIBUTES = re.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)*+""")
_QUOTED = re.compile(r""""[^"]*+"|'[^']*+'""")
_CLONE_STEPS = 250
"""A <b> that is left open is made anew in each paragraph after it."""
_NAME_START = re.compile(r"\s[^\s=>]")
_MANY_ATTRIBUTES = 4096
"""Characters of a tag from which its attributes are counted: a parser compares each with all before it."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = _names("area base br col embed hr img input link meta param source track wbr")
_ENDED_BY_OTHERS = _names(
    "a p li dt dd tr td th tbody thead tfoot colgroup caption option optgroup rp rt html head body"
)
"""Elements that the next of their kind closes, so that those left open do not nest."""
_FORMATTING = _names("b big code em font i nobr s small strike strong tt u")
_RAW_TEXT = _names("script style textarea title xmp iframe noembed noframes")
_BREAKS_OUT = _names("div p span img table ul ol dl h1 h2 h3 h4 body b i em strong blockquote center pre br")


def parseable(markup: str, max_depth: int = MAX_DEPTH, max_steps: int = MAX_STEPS) -> str:
    """Returns `markup` without the tags that nest deeper than `max_depth`; what these enclose stays.

    What would still cost a parser more than about `max_steps` steps is cut off at that point.
    """
    opened: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    kept: list[str] = []
    depth = steps = position = copied = 0
    while match := _TOKEN.search(markup, position):
        name = (match[2] or "").lower()
        if not name:
            position = _after(markup, "-->", match.end())
            continue
        attributes = _ATTRIBUTES.match(markup, match.end())
        position = attributes.end() if attributes else match.end()
        formatting = sum(opened[tag] for tag in _FORMATTING) if depth else 0
        steps += depth + _CLONE_STEPS * formatting
        if position - match.end() > _MANY_ATTRIBUTES:
            steps += _attribute_steps(markup[match.end() : position])
        if steps > max_steps:
            return "".join(kept) + markup[copied : match.start()]
        is_dropped = False
        is_foreign = bool(opened["svg"] or opened["math"])
        if match[1]:
            is_dropped = dropped[name] > 0
            if is_dropped:
                dropped[name] -= 1
            elif opened[name]:
                opened[name] -= 1
                depth -= 1
        elif is_foreign and name not in _BREAKS_OUT and markup.endswith("/", match.end(), position):
            continue
        elif name in _RAW_TEXT and not is_foreign:
            position = _after_end_tag(markup, name, position)
        elif name not in _VOID and name not in _ENDED_BY_OTHERS:
            if is_foreign and name in _BREAKS_OUT:
                depth -= opened.pop("svg", 0) + opened.pop("math", 0)
            is_dropped = depth >= max_depth or (name in _FORMATTING and formatting >= MAX_FORMATTING)
            if is_dropped:
                dropped[name] += 1
            else:
                opened[name] += 1
                depth += 1
        if is_dropped:
            kept.append(markup[copied : match.start()])
            copied = min(len(markup), position + 1)
    return "".join(kept) + markup[copied:]


def _attribute_steps(attributes: str) -> int:
    count = sum(1 for _ in _NAME_START.finditer(_QUOTED.sub("", attributes)))
    return count * count // 2


def _after(markup: str, end: str, position: int) -> int:
    found = markup.find(end, position)
    return len(markup) if found < 0 else found + len(end)


def _after_end_tag(markup: str, name: str, position: int) -> int:
    found = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(markup, position)
    return found.start() if found else len(markup)
