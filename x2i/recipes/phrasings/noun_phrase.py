"""Whether an English caption is a noun phrase, which can follow "draw", or a clause, which cannot.

Without a parser this errs on one side: what may be a clause is not taken for a noun phrase.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*|,")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLURAL_STARTS = _words(
    "two three four five six seven eight nine ten several many few some these those both various all numerous"
)
_SINGULAR_STARTS = _words("a an the this that one another my your his her its our their each every")
_DETERMINERS = _words("a an the this that these those my your his her its our their some")
_NO_PHRASE_STARTS = _words(
    """i you he she it we they there here this's that's it's there's he's she's what why how when where who whose which
    is are was were do does did can could will would should may might must have has had if because while
    draw show make create generate paint imagine please let see look give add remove put turn keep"""
)
_RELATIVES = _words("that which who whom whose where")
_FINITE = _words(
    """is are was were am be has have had can cannot could will would may might must shall should do does did isn't
    aren't wasn't weren't can't won't don't doesn't didn't sat stood ran held wore threw took ate drank went came saw
    flew fell rode drove swam sang got gave kept caught fought blew grew knew drew began became"""
)
_VERBS = """sit stand walk run lie lay look play ride hold wear eat drink fly jump sleep hang carry catch kick throw
    swim sing dance smile laugh talk read write watch wait work climb cross chase bark swing pull push grow rise shine
    float stare gaze lean rest pose fight pass hit reach use show contain depict feature overlook surround appear move
    go come get give take make have say see try turn drive sail land open close fall cut cook bite lick sniff crouch
    kneel perch graze roam wander gather prepare hug kiss wave point listen speak call buy sell pour cover
    fill""".split()  # noqa: SIM905
_THIRD_PERSON = frozenset(
    f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeiou" else
    f"{verb}es" if verb.endswith(("ch", "sh", "ss", "o", "x")) else f"{verb}s"
    for verb in _VERBS
) | _words("has does")  # fmt: skip
_PAST = frozenset(
    f"{verb[:-1]}ied" if verb.endswith("y") and verb[-2] not in "aeiou" else f"{verb.removesuffix('e')}ed"
    for verb in _VERBS
    if verb not in ("cover", "fill", "surround", "gather", "prepare", "close", "open", "use", "cook", "carry")
)
_ENDS_HEAD = _words(
    """of in on at with over under by for from to into onto near behind beside between among above below against along
    across around through inside outside during before after without about as like next and or plus versus up down out
    off far away together alone outdoors indoors
    that which who where while toward towards past beneath underneath amid upon atop"""
)
_IRREGULAR_PLURALS = _words("people men women children policemen firemen fish sheep mice feet geese teeth deer")
_ANY = 3
"""A phrase of so few words needs no word that shows that it is English."""


def is_noun_phrase(text: str) -> bool:
    """Returns whether `text`, one sentence without its full stop, is an English noun phrase: "a dog on grass"."""
    words = [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]
    if not words or words[0] in _NO_PHRASE_STARTS or words[0] == ",":
        return False
    if words[0] not in _SINGULAR_STARTS | _PLURAL_STARTS and not _may_start(words):
        return False
    return not _has_verb(words) and _head_ends(words)


def _may_start(words: list[str]) -> bool:
    """Whether words without a determiner may be an English phrase; a list of tags is none."""
    if words.count(",") >= 2 or any(word in _THIRD_PERSON for word in words[:2]):
        return False
    shows_english = any(word in _ENDS_HEAD or word.endswith("ing") for word in words[1:])
    return shows_english or len(words) <= _ANY


def _has_verb(words: list[str]) -> bool:
    """Whether a finite verb stands outside a relative clause."""
    for number, word in enumerate(words):
        if number and word in _RELATIVES:
            return False
        following = words[number + 1] if number + 1 < len(words) else ""
        is_past = word.endswith("ed") and number > 1 and following in _DETERMINERS
        if number and (word in _FINITE or word in _THIRD_PERSON or (word in _PAST and number > 1) or is_past):
            return True
        if number and _ends_in_s(word) and following in _DETERMINERS:
            return True  # "kicks the ball"
        if "and" in words[:number] and word in _VERBS and (not following or following in _DETERMINERS | _ENDS_HEAD):
            return True  # "a man and his dog walk along"
    return False


def _head_ends(words: list[str]) -> bool:
    """Whether the noun that the phrase is about is followed by nothing or by what may follow it, not by a verb."""
    end = next((n for n, word in enumerate(words) if n and _may_follow(word)), len(words))
    head = words[:end]
    many = head[0] in _PLURAL_STARTS or is_plural(head[0])
    plurals = [number for number, word in enumerate(head) if is_plural(word)]
    if not many and words[0] not in ("the", "my", "your", "his", "her", "its", "our", "their"):
        return not any(_ends_in_s(word) for word in head[1:])  # "a dog barks"
    if plurals:
        return plurals[0] == len(head) - 1  # "two dogs run"
    return True


def _may_follow(word: str) -> bool:
    return word == "," or word in _ENDS_HEAD or (word.endswith("ing") and len(word) > 5)


def is_plural(word: str) -> bool:
    """Returns whether a noun in small letters looks like a plural: "dogs", "people"."""
    return word in _IRREGULAR_PLURALS or _ends_in_s(word)


def _ends_in_s(word: str) -> bool:
    return word.endswith("s") and len(word) > 2 and not word.endswith(("ss", "us", "is", "'s"))
