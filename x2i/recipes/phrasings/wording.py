"""Fitting a caption or a noun phrase into a sentence: its case, its article, its full stop."""

from __future__ import annotations

import re

from x2i.recipes.phrasings import MARKER_PATTERN, nouns
from x2i.recipes.phrasings.noun_phrase import is_noun_phrase, is_plural

# first words that are capital only because they begin the caption; other capitals may be names and stay
_LOWERABLE = frozenset(
    """a an the this that these those some one two three four five six seven eight nine ten several many few another
    close-up closeup view portrait photo photograph picture image painting drawing scene""".split()  # noqa: SIM905
)
_DETERMINERS = frozenset({"the", "this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their"})
_ARTICLES = frozenset({"a", "an"})
_PLACE = re.compile(r" ((on|to|at) the (left|right)|(in|at) the (middle|center|top|bottom))\b.*")
_SENTENCE_BREAK = re.compile(r"[.!?…]\s+\S|\n")
LONGEST_SCENE = 200


def caption_slots(caption: str | None) -> dict[str, str | None]:
    """Returns the three forms in which phrasings take a caption; None for each if there is no caption or no word in it.

    caption: as it is, for the end of an instruction or standing alone. sentence: closed by a full stop, so that more
    can follow. scene: without the full stop and with a small article, for the middle of a sentence ("draw a cat on a
    mat"); None for captions that are no English noun phrase, of several sentences or of more than LONGEST_SCENE
    characters, which would not read there.
    """
    text = clean(caption or "")
    if not text:
        return {"caption": None, "sentence": None, "scene": None}
    closed = text if text.endswith((".", "!", "?", "…")) else f"{text}."
    bare = text.removesuffix(".") if not text.endswith("..") else text
    is_short = len(bare) <= LONGEST_SCENE and not _SENTENCE_BREAK.search(bare) and not bare.endswith(("!", "?", "…"))
    fits = is_short and is_noun_phrase(bare)
    return {"caption": text, "sentence": closed, "scene": _lower_first(bare) if fits else None}


def definite(phrase: str) -> str:
    """Returns a noun phrase that points at one thing: "a red cup" and "red cup" become "the red cup"."""
    words = clean(phrase).rstrip(".").split()
    first = words[0].lower()
    if first in _ARTICLES:
        words = words[1:] or words
    elif first in _DETERMINERS:
        return " ".join([first, *words[1:]])
    elif words[0][0].isupper() and len(words[0]) > 1 and first not in _LOWERABLE:
        return " ".join(words)  # may be a name: "Big Ben"
    return " ".join(["the", *words])


def indefinite(phrase: str) -> str:
    """Returns a noun phrase that brings up a new thing: "the red cup" and "red cup" become "a red cup".

    A plural, a name or a number is left without an article.
    """
    words = clean(phrase).rstrip(".").split()
    first = words[0].lower()
    if first in _ARTICLES:
        return " ".join([first, *words[1:]])
    if first == "the" and len(words) > 1:
        words = words[1:]
    elif first in _DETERMINERS or first in _LOWERABLE:
        return " ".join([first, *words[1:]])
    elif words[0][0].isupper() and len(words[0]) > 1:
        return " ".join(words)  # may be a name: "Big Ben"
    bare = " ".join(words)
    head = re.split(r" (?:of|in|on|at|with|near|behind|under|over) ", bare)[0].lower()
    return bare if is_plural(head.split()[-1]) else nouns.indefinite(bare)


def without_place(phrase: str) -> str:
    """Returns a noun phrase without where its thing is: "a red cup on the left" as "a red cup"."""
    return _PLACE.sub("", clean(phrase))


def clean(text: str) -> str:
    """Returns `text` on one line, without marker tokens such as `<|image_1|>`; "" if nothing is left."""
    return " ".join(MARKER_PATTERN.sub(" ", text).split())


def _lower_first(text: str) -> str:
    word, _, rest = text.partition(" ")
    return f"{word.lower()} {rest}".strip() if word.lower() in _LOWERABLE else text
