"""Instructions that someone wrote: what is wrong with one, its mirror image, and its inverse."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from x2i.sample import PLACEHOLDER_PATTERN, wrong_marks

_NULL = re.compile(
    r"(none|null|nan|n/a|na|nil|undefined|unknown|no (change|edit|caption|instruction)s?|)\W*", re.IGNORECASE
)
_LIST = re.compile(r"\s*(\[\s*(['\"{\[]|\])|\{\s*['\"]|\(\s*['\"][^()]*['\"]\s*,?\s*\)\s*$)")
_LABEL = re.compile(
    r"\s*[\"'*]*(edited |target |output |new |final )?"
    r"(caption|prompt|output|answer|response|description)[\"'*]*:",
    re.IGNORECASE,
)
_PIXELS = re.compile(
    r"\d+\s*(px|pixels?)\b|\(\s*\d{2,4}\s*,\s*\d{2,4}\s*(,\s*\d{2,4}\s*)*\)|\b[xy]\s*=\s*\d{2,4}\b|\bbbox\b|<box>",
    re.IGNORECASE,
)
_EARLIER = re.compile(
    r"\b(previous(ly)?|earlier|last|prior) (edit|step|turn|image|version|result|change|instruction)s?\b"
    r"|\bas (before|above|mentioned|described above)\b|\b(undo|revert) (that|this|it)\b"
    r"|\b(you|we) (just|already) (added|removed|made|changed|put)\b|^\s*(now also|again,)",
    re.IGNORECASE,
)
_TALK = re.compile(
    r"^\s*(sure|certainly|of course|here('s| is) (the|an?|your) (edited|updated|new|modified|instruction|caption)"
    r"|okay|i('m| am) sorry|as an ai|i can(no|')t)\b",
    re.IGNORECASE,
)
_LATIN = re.compile(r"[a-z]", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
LONGEST = 1200

LINT: Mapping[str, Callable[[str], bool]] = {
    "null_like": lambda text: _NULL.fullmatch(text.strip()) is not None,
    "list_literal": lambda text: _LIST.match(text) is not None,
    "label": lambda text: _LABEL.match(text) is not None,
    "absolute_pixels": lambda text: _PIXELS.search(text) is not None,
    "earlier_turn": lambda text: _EARLIER.search(text) is not None,
    "talk": lambda text: _TALK.match(text) is not None,
    "not_latin": lambda text: len(_LATIN.findall(text)) < 0.5 * len(_LETTER.findall(text)),
    "too_long": lambda text: len(text) > LONGEST,
}
"""Fault -> whether an instruction without its image markers has it.

null_like: says nothing. list_literal: a list or object of a program. label: begins with "caption:" or the like.
absolute_pixels: places in pixels, which no resizing survives. earlier_turn: speaks of something that was said before.
talk: a model's chatter. not_latin: written in other letters, for a set in English. too_long: of LONGEST characters.
"""


def lint(instruction: str, num_inputs: int = 1) -> tuple[str, ...]:
    """Returns the faults of an instruction: names of LINT, and "placeholders" if it does not mark each input image."""
    words = " ".join(PLACEHOLDER_PATTERN.sub(" ", instruction).split())
    faults = [name for name, has in LINT.items() if has(words)]
    return (*faults, "placeholders") if wrong_marks(instruction, num_inputs) else tuple(faults)


_SIDES = {
    "left": "right",
    "right": "left",
    "leftmost": "rightmost",
    "rightmost": "leftmost",
    "leftward": "rightward",
    "rightward": "leftward",
    "leftwards": "rightwards",
    "rightwards": "leftwards",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
    "anticlockwise": "clockwise",
}
_SIDE_WORD = re.compile(
    r"\b(all |that's |that is |be |is |are |just |quite )?"
    r"((?:left|right)(?:most|wards?|-hand(?: side)?)?|(?:counter|anti)?clockwise)\b"
    r"(?! (?:over|behind|alone|now|away|out|unchanged|untouched|as (?:it|they)))",
    re.IGNORECASE,
)


def mirrored_words(text: str) -> str:
    """Returns an instruction as it reads for the mirrored pair: left and right, and both ways of turning, exchanged.

    "all right", "left over" and "left as it is" are no sides.
    """

    def swapped(match: re.Match[str]) -> str:
        before, word = match[1] or "", match[2]
        if before.lower() in ("all ", "that's ", "that is ") and word.lower() == "right":
            return match[0]
        head, hyphen, rest = word.partition("-")
        other = _SIDES[head.lower()]
        other = other.capitalize() if head[0].isupper() else other
        return f"{before}{other}{hyphen}{rest}"

    return _SIDE_WORD.sub(swapped, text)


def names_a_side(text: str) -> bool:
    """Returns whether the words speak of left or right, so that a mirrored pair needs others."""
    return mirrored_words(text) != text


_THING = r"(?P<thing>.+?)"
_TAKE = r"(?:remove|delete|erase|get rid of|take away)"
_TURN = r"(?:turn|convert|transform|change)"
_PLACE = r"(?P<place>(?:on|in|to|at|into|onto|near|behind|beside|above|below|under|next to|in front of) .+)"
_MEASURE = r"(?P<way>larger|bigger|smaller|brighter|darker|taller|shorter|wider|narrower|warmer|colder|cooler)"
_INVERSES: tuple[tuple[str, str], ...] = (
    (rf"(?:replace|swap|exchange) {_THING} (?:with|by|for) (?P<other>.+)", "replace {other} with {thing}"),
    (rf"{_TURN} {_THING} from (?P<old>.+?) (?P<to>in)?to (?P<other>.+)", "change {thing} from {other} to {old}"),
    (rf"{_TURN} {_THING} (?:in)?to (?P<other>(?:an?|the) .+)", "turn {other} into {thing}"),
    (rf"(?:add|insert|draw|put in|include) {_THING} {_PLACE}", "remove {thing} {from_place}"),
    (rf"(?:add|insert|draw|include) {_THING}", "remove {thing}"),
    (rf"{_TAKE} {_THING} from (?P<other>.+)", "add {thing} to {other}"),
    (rf"{_TAKE} {_THING}", "add {thing}"),
    (rf"(?:move|shift|slide) {_THING} (?P<to>to the )?(?P<way>left|right|up|down)", "move {thing} {to}{opposite}"),
    (rf"make {_THING} {_MEASURE}", "make {thing} {opposite}"),
    (rf"(?:mirror|flip) {_THING}", "{verb} {thing}"),
)
_OPPOSITE = {"left": "right", "up": "down", "larger": "smaller", "brighter": "darker", "taller": "shorter"}
_OPPOSITE |= {"wider": "narrower", "warmer": "colder"}
_OPPOSITE |= {new: old for old, new in _OPPOSITE.items()} | {"bigger": "smaller", "cooler": "warmer"}
_OPENING = re.compile(r"(?:please|could you|can you|i want you to|now|let's|then)[, ]+", re.IGNORECASE)


def inverse_words(text: str) -> str | None:
    """Returns the instruction that leads back, None where its words do not say what was there before.

    text: one sentence without image markers. "Add a hat to the man" gives "Remove the hat from the man".
    """
    sentence = _OPENING.sub("", " ".join(text.split())).strip().rstrip(".!?")
    if not sentence or re.search(
        r"[.;!?] |, (and|then) | and (then )?(add|remove|replace|change|make|turn)\b", sentence
    ):
        return None  # several edits in one
    for pattern, inverse in _INVERSES:
        found = re.fullmatch(pattern, sentence, re.IGNORECASE)
        if found is None:
            continue
        parts = {name: value or "" for name, value in found.groupdict().items()}
        parts["verb"] = sentence.split()[0].lower()
        parts["opposite"] = _OPPOSITE.get(parts.get("way", "").lower(), "")
        place = parts.get("place", "")
        parts["from_place"] = re.sub(r"^(in)?to ", "from ", place, flags=re.IGNORECASE)
        if inverse.startswith("remove"):
            parts["thing"] = _definite(parts["thing"])
        elif inverse.startswith("add"):
            parts["thing"] = _indefinite(parts["thing"])
        elif inverse.startswith(("replace", "turn")):
            parts["other"], parts["thing"] = _definite(parts["other"]), _indefinite(parts["thing"])
        made = inverse.format(**parts)
        return f"{made[0].upper()}{made[1:]}."
    return None


def _definite(phrase: str) -> str:
    return re.sub(r"^(an?|some|another) ", "the ", phrase, flags=re.IGNORECASE)


def _indefinite(phrase: str) -> str:
    found = re.match(r"the (\w)(\w*)", phrase, re.IGNORECASE)
    if found is None or (found[2] or found[1]).endswith("s"):
        return phrase
    article = "an" if found[1].lower() in "aeiou" else "a"
    return f"{article} {phrase[4:]}"
