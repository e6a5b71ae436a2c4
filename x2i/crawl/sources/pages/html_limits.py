"""Limits on markup before it is parsed: nesting depth, and the tags that a parser would have to handle."""

from __future__ import annotations

import re
from collections import Counter

MAX_DEPTH = 512
"""Browsers nest no deeper either."""
MAX_FORMATTING = 32
MAX_COST = 2_000_000
"""Tags, each counted once and once more for each open formatting element: a parser opens those anew in every block."""
_LONG_TAG = 4096
"""Characters from which on a tag's attributes are counted: a parser compares each with all before it."""
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<raw>script|style|textarea|title|xmp|iframe|noembed|noframes)(?=[\s/>]).*?(?:</(?P=raw)(?=[\s/>])|\Z)"
    r"""|<(?P<end>/?)(?P<name>[a-z][^\s/>]*+)(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)*+""",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r""""[^"]*+"|'[^']*+'""")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FORMATTING = _words("b big code em font i nobr s small strike strong tt u")
_NOT_NESTING = _words(
    "area base br col embed hr img input link meta param source track wbr "
    "a p li dt dd tr td th tbody thead tfoot colgroup caption option optgroup rp rt html head body"
)
"""Void elements, and those that the next of their kind closes."""


def limit_markup(markup: str, max_depth: int = MAX_DEPTH, max_cost: int = MAX_COST) -> str:
    """Returns `markup` without the opening tags beyond `max_depth`, cut off where its tags pass `max_cost`."""
    opened: Counter[str] = Counter()
    depth = formatting = cost = copied = 0
    kept: list[str] = []
    for token in _TOKEN.finditer(markup):
        name = (token["name"] or "").lower()
        cost += 1 + formatting
        if token.end() - token.start() > _LONG_TAG and name:
            cost += len(_QUOTED.sub("", token[0]).split()) ** 2 // 1000
        if cost > max_cost:
            return "".join(kept) + markup[copied : token.start()]
        if not name or name in _NOT_NESTING:
            continue
        if token["end"]:
            if opened[name]:
                opened[name] -= 1
                depth -= 1
                formatting -= name in _FORMATTING
        elif token[0].endswith("/") and (opened["svg"] or opened["math"]):
            continue
        elif depth >= max_depth or (name in _FORMATTING and formatting >= MAX_FORMATTING):
            kept.append(markup[copied : token.start()])
            copied = min(len(markup), token.end() + 1)
        else:
            opened[name] += 1
            depth += 1
            formatting += name in _FORMATTING
    return "".join(kept) + markup[copied:]
