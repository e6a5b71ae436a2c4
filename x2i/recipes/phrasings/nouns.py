"""English noun phrases: their plural, and with an article."""

from __future__ import annotations

import re

_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth",
    "goose": "geese", "mouse": "mice", "knife": "knives", "wife": "wives", "life": "lives", "leaf": "leaves",
    "loaf": "loaves", "shelf": "shelves", "wolf": "wolves", "calf": "calves", "half": "halves", "scarf": "scarves",
    "thief": "thieves", "ox": "oxen", "bus": "buses", "gas": "gases", "lens": "lenses", "cactus": "cacti",
    "potato": "potatoes", "tomato": "tomatoes", "hero": "heroes", "mango": "mangoes", "policeman": "policemen",
}  # fmt: skip
_UNCHANGED = frozenset(
    """sheep fish deer moose salmon trout aircraft spacecraft series species scissors glasses sunglasses jeans pants
    trousers shorts headphones binoculars people men women children feet teeth geese mice furniture luggage""".split()  # noqa: SIM905
)
_AFTER_HEAD = re.compile(r"\s+(?:of|with|in|on|at|for|from|under|over|near|behind|beside|wearing|holding|that|who)\s")


def plural(phrase: str) -> str:
    """Returns the plural of a noun phrase without an article; one that is plural already stays: "two glasses of milk".

    phrase: in the singular, such as "red cup", "woman with a hat".
    """
    found = _AFTER_HEAD.search(phrase)
    head, rest = (phrase[: found.start()], phrase[found.start() :]) if found else (phrase, "")
    before, space, noun = head.rpartition(" ")
    return f"{before}{space}{_of_noun(noun)}{rest}"


def indefinite(phrase: str) -> str:
    """Returns a noun phrase in the singular with its article: "a color palette", "an edge map", "an 8x8 palette"."""
    vowel = re.match(r"[aeio]|u(?!ni|se|sa|to|k)|8|11|18|hour|honest|heir", phrase, re.IGNORECASE)
    return f"an {phrase}" if vowel and not re.match(r"one\b|eu", phrase, re.IGNORECASE) else f"a {phrase}"


def condition_slots(noun: str) -> dict[str, str | None]:
    """Returns the slots of the pools image_to_map and map_to_image for a kind of map."""
    return {"condition": noun, "a_condition": indefinite(noun)}


def _of_noun(noun: str) -> str:
    low = noun.lower()
    if low in _UNCHANGED or not low.isascii() or not low[-1:].isalpha():
        return noun
    if low in _IRREGULAR:
        return noun[0] + _IRREGULAR[low][1:] if noun[0].isupper() else _IRREGULAR[low]
    if low.endswith("s") and not low.endswith(("ss", "us", "is")):
        return noun
    if low.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if low.endswith("y") and low[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
