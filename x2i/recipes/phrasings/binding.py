"""Tying the phrases of a caption to the input images: "a cat on a mat" becomes "the cat in IMG1 on a mat"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from x2i.recipes.phrasings import Marked
from x2i.sample import placeholder

_DETERMINERS = (
    "a an the this that these those his her its their my your our one two three four five six some several both another"
)
_BEFORE = re.compile(rf"(?:(?<!\w)({'|'.join(_DETERMINERS.split())})\s+)$", re.IGNORECASE)
_REPLACED = frozenset(("a", "an", "the", "this", "that", "these", "those", "some", "one", "another"))


def bound(caption: str, phrases: Sequence[str]) -> Marked | None:
    """Returns `caption` with each phrase pointed at its image, "the red cup in IMG1"; None unless it holds each once.

    caption: without markers. phrases: of the images in order, noun phrases without an article. A number or a possessive
    before the phrase stays: "his dog in IMG2", "the two dogs in IMG1".
    """
    text = caption
    for number, phrase in enumerate(phrases, start=1):
        words = r"\s+".join(re.escape(word) for word in phrase.split())
        found = list(re.finditer(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)) if phrase else []
        if len(found) != 1:
            return None
        start, end = found[0].span()
        before = _BEFORE.search(text[:start])
        said = before[1] if before else ""
        start = before.start(1) if before else start
        article = "the" if said.lower() in _REPLACED or not said else said.lower()
        article = f"the {article}" if said.lower() in ("two", "three", "four", "five", "six", "several") else article
        article = article[0].upper() + article[1:] if start == 0 else article
        noun = found[0].group()
        noun = noun[0].lower() + noun[1:] if not said and start == 0 and noun[1:].islower() else noun
        text = f"{text[:start]}{article} {noun} in {placeholder(number)}{text[end:]}"
    return Marked(text)
