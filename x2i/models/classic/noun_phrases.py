"""`classic:noun-phrases`: the things that an English caption names, by rules and lists of words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from x2i.models.backend import Backend

_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d+|[^\w\s]")
MOST_WORDS = 5


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STARTERS = _words(
    "a an the this that these those my your his her its our their some any no each every another other both all"
    " several many few one two three four five six seven eight nine ten dozen multiple various more most"
)
FUNCTION_WORDS = STARTERS | _words(
    "i you he she it we they me him us them himself herself itself themselves who whom whose which what where when"
    " there here everyone someone somebody nobody something nothing everything while as than if because so but or nor"
    " and yet of in on at by for with without from to into onto upon over under above below behind beside besides"
    " between among amid around about across against along alongside through throughout toward towards near off out up"
    " down inside outside within beneath underneath atop past before after during until since per via like unlike next"
    " am is are was were be been being do does did has have had having can could will would shall should may might must"
    " not very too just also only still even then now together apart away back again almost quite rather well how why"
    " that's it's there's he's she's get gets got let lets make makes made see sees seen give gives take takes taken"
)
SUBJECTS = _words("i you he she it we they who which that there")
AUXILIARIES = _words("am is are was were be been being")
VERBS = _words(
    "sit stand hold ride look wear eat walk run play lie lay fly jump drive lean hang rest sleep smile swim carry"
    " watch cross surf ski skate graze perch float grow drink pull push reach show feature contain cover surround face"
    " fill pose use try enjoy prepare cut cook wait travel sail throw catch hit swing kick stare gaze point talk drift"
    " stretch gather line follow chase open read write paint work shop serve appear seem feed climb"
)
THIRD_PERSONS = _words("carries flies tries watches crosses reaches catches stretches perches pushes")
IRREGULAR_PLURALS = _words("people men women children sheep geese deer police feet teeth mice cattle oxen")
PAST_FORMS = _words(
    "sat stood held rode wore ate lay flew drove hung slept swam worn shown drawn hung built set laid cut lit taken"
    " thrown caught spread left kept put written broken frozen woven grown torn bent"
)
NOUNS_IN_ING = _words(
    "building painting ceiling railing wedding clothing ring king string wing swing morning evening awning earring"
    " drawing pudding sling spring thing sibling duckling dumpling offspring icing lightning carving opening wiring"
    " topping dressing frosting crossing landing scaffolding bedding seasoning stuffing flooring paneling siding"
    " sterling viking covering setting housing engraving ping-pong"
)
NOUNS_IN_ED = _words("bed seed shed sled weed reed feed breed moped biped steed flatbed seabed riverbed flowerbed feed")
NOUNS_IN_LY = _words("family butterfly lily belly jelly fly assembly monopoly dragonfly bully ally trolley doily holly")
NOUNS_TOO = _words("glass light square stone baby cream orange gold silver metal")
ADJECTIVES_IN_LY = _words("curly fluffy woolly lonely elderly friendly lovely ugly silly daily wooly bubbly")
ADJECTIVES = ADJECTIVES_IN_LY | _words(
    "red orange yellow green blue purple pink brown black white gray grey beige tan teal turquoise golden silver gold"
    " maroon violet navy cream colorful colourful dark light bright pale big small large little tiny huge giant tall"
    " short long wide narrow thin thick fat old new young ancient modern vintage antique wooden metal plastic stone"
    " brick glass leather concrete ceramic round square rectangular oval flat curved empty full open closed high low"
    " hot cold warm cool fresh wet dry dirty clean messy busy quiet quick slow happy sad angry cute beautiful pretty"
    " handsome adorable furry fluffy hairy bald blond blonde striped spotted checkered floral plaid shiny rusty sunny"
    " cloudy foggy snowy rainy grassy rocky sandy muddy dusty leafy bare good bad nice great fancy plain simple same"
    " different single double main whole half upside sharp soft hard heavy delicious tasty ripe raw baby male female"
    " lush calm clear blurry abstract decorative traditional urban rural outdoor indoor electric digital tropical"
    " available visible famous ready able asleep awake alone alive blurred shallow deep steep smooth rough"
)
SCENE_WORDS = _words(
    "photo photograph picture image view shot close-up closeup background foreground scene front back top bottom side"
    " left right middle center centre edge end part rest way distance day night time style look kind type sort manner"
    " position direction place area lot variety bunch bit display action motion use hour minute year season"
    " morning evening afternoon sunlight daylight shade midair mid-air air order addition case example"
)
QUANTITIES = _words(
    "group pair couple bunch set row number collection herd flock pile stack slice piece lots assortment series array"
    " line crowd swarm cluster dozens hundreds handful series stacks piles rows slices pieces groups pairs"
)


@dataclass(frozen=True)
class NounPhrases(Backend):
    """A phrase is a run of nouns with what stands before them: "red vintage car", "traffic light", "sleeping cat".

    Articles, numbers and possessives are left out, and so are words about the picture ("photo", "background") and
    amounts ("a group of people" names people). Phrases are in lower case, each given once, in the caption's order.
    """

    title: ClassVar[str] = "Noun phrases of English captions by rules; no weights"

    def phrases(self, captions: Sequence[str]) -> list[list[str]]:
        """Returns the noun phrases of each caption."""
        return [noun_phrases(caption) for caption in captions]


def noun_phrases(caption: str) -> list[str]:
    """Returns the things that an English caption names, in its order, without repetition.

    >>> noun_phrases("A man riding a brown horse next to two wooden fences.")
    ['man', 'brown horse', 'wooden fences']
    """
    tokens = [token.lower().replace("\u2019", "'") for token in _TOKEN.findall(caption)]
    found = (_trimmed(chunk, after, started) for chunk, after, started in _chunks(tokens))
    return list(dict.fromkeys(phrase for phrase in found if phrase))


def _chunks(tokens: Sequence[str]) -> Iterator[tuple[list[str], str, bool]]:
    """Yields runs of words that may form a phrase, each with the token after it, and whether an article led it in."""
    chunk: list[str] = []
    started = False
    for place, token in enumerate(tokens):
        after = tokens[place + 1] if place + 1 < len(tokens) else ""
        before = tokens[place - 1] if place else ""
        if not (before in SUBJECTS and _is_verb_after(token, before)) and _belongs(token, chunk, after, before):
            chunk.append(token)
            continue
        if chunk:
            yield chunk, token, started
        chunk, started = [], token in STARTERS
    if chunk:
        yield chunk, "", started


def _belongs(token: str, chunk: Sequence[str], after: str, before: str) -> bool:
    """Whether `token` is part of the phrase that `chunk` begins."""
    bare = token.removesuffix("'s")
    before_noun = after.isalpha() and after not in FUNCTION_WORDS
    only_modifiers = all(_modifies(word) for word in chunk)
    if token == "and":  # a black and white cat
        return bool(chunk) and set(chunk) <= ADJECTIVES and after in ADJECTIVES
    if not bare[0].isalpha() or token in FUNCTION_WORDS:
        return False
    if token in ADJECTIVES or bare in NOUNS_IN_ING | NOUNS_IN_ED | NOUNS_IN_LY:
        return True
    if token.endswith("ly") and len(token) > 4:
        return False
    if _is_participle(token):
        return only_modifiers and before_noun and before not in AUXILIARIES
    return only_modifiers or not _is_verb_after(token, chunk[-1])


def _is_participle(token: str) -> bool:
    if token in PAST_FORMS or (token.endswith("ing") and len(token) > 5 and token not in NOUNS_IN_ING):
        return True
    return token.endswith("ed") and len(token) > 4 and "-" not in token and token not in NOUNS_IN_ED


def _modifies(word: str) -> bool:
    return word in ADJECTIVES or word == "and" or _is_participle(word) or word.endswith(("'s", "-colored"))


def _is_verb_after(token: str, noun: str) -> bool:
    """Whether `token` is what `noun` does: "rides" after "man", "play" after "dogs"."""
    if token in VERBS:
        return noun in IRREGULAR_PLURALS or (noun.endswith("s") and not noun.endswith(("ss", "us")))
    return token in THIRD_PERSONS or (token.endswith("s") and token.removesuffix("s") in VERBS)


def _trimmed(chunk: list[str], after: str, started: bool) -> str:
    """Returns the phrase in a run of words, "" if it names nothing that could be found in a picture."""
    words = list(chunk)
    while words and _modifies(words[-1]) and not (words[-1] in NOUNS_TOO and (started or len(words) > 1)):
        words.pop()
    if not words or (len(words) > 1 and set(words) <= ADJECTIVES - NOUNS_TOO):
        return ""
    head = words[-1]
    if head in SCENE_WORDS or (head in QUANTITIES and after == "of") or len(head) == 1:
        return ""
    return " ".join(words[-MOST_WORDS:])
