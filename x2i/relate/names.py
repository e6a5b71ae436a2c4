"""Names in captions: words that are capital inside a sentence, by which pictures of one thing may be found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_NAME = re.compile(
    r"(?<![.!?:\"'\u201c] )(?<!^)\b[A-Z][\w'\u2019-]+(?: (?:of |de |van |von |the )?[A-Z][\w'\u2019-]+)*"
)
_FULL_NAME = re.compile(r"^[A-Z][\w'\u2019-]+(?: (?:of |de |van |von )?[A-Z][\w'\u2019-]+)+")
MOST_SHARING = 0.01
"""A name in a larger share of the captions says nothing: a site's name, a country."""
FEW = 20


def names_of(caption: str) -> list[str]:
    """Returns the names in a caption, in order, each once: capital words that do not merely begin a sentence.

    Two capital words or more that begin the caption are a name too: "Marie Curie in her laboratory".
    """
    first = _FULL_NAME.match(caption)
    rest = caption[first.end() :] if first else caption
    return list(dict.fromkeys([*([first[0]] if first else []), *_NAME.findall(rest)]))


def name_groups(captions: Sequence[str]) -> list[str]:
    """Returns for each caption its rarest name that another one has too; "" where there is none."""
    names = [names_of(caption) for caption in captions]
    count = Counter(name for found in names for name in found)
    most = max(FEW, MOST_SHARING * len(captions))
    shared = [[name for name in found if 1 < count[name] <= most] for found in names]
    return [min(found, key=lambda name: (count[name], name)) if found else "" for found in shared]
