"""Further pairs that follow from known ones, without a model: inverses, pairs between two edits of one image, steps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from x2i.pairs.words import inverse_words
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.seeding import stable_hash

Rule = Literal["inverse", "between", "step", "chain"]
RULES: tuple[Rule, ...] = ("inverse", "between", "step", "chain")
Side = Literal["before", "after"]
_JOINT = re.compile(r"^[\s,.;:]*(and |then |and then |next |finally )*[\s,]*", re.IGNORECASE)


@dataclass(frozen=True)
class KnownPair:
    """One sample with one input. before, after: digests of its images. words: its instruction without markers."""

    key: str
    before: str
    after: str
    words: str


@dataclass(frozen=True)
class DerivedPair:
    """A pair that follows. input, output: (number of a known pair, its side). made_of: the pairs it follows from."""

    rule: Rule
    words: str
    input: tuple[int, Side]
    output: tuple[int, Side]
    made_of: tuple[int, ...]


def bare_words(instruction: str) -> str:
    """Returns an instruction without its image markers, on one line."""
    return " ".join(PLACEHOLDER_PATTERN.sub(" ", instruction).split())


def derive(pairs: Sequence[KnownPair], rules: Sequence[Rule], per_image: int = 6) -> Iterator[DerivedPair]:
    """Yields the pairs that follow from `pairs` by `rules`, in the order of the rules, then of the pairs.

    inverse: B -> A, where the words of A -> B say what was there before. between: A -> B and A -> C give B -> C. step:
    the same where the words of A -> C begin with those of A -> B, so that the rest of them says how C follows.
    chain: A -> B and B -> C give A -> C. per_image: pairs of the last three rules that one image gives at most, those
    with the smallest hash. Pairs that are known already are not yielded.
    """
    known = {(pair.before, pair.after) for pair in pairs}
    for rule in RULES:
        if rule not in rules:
            continue
        found = list(_inverses(pairs) if rule == "inverse" else _joined(pairs, rule))
        held: defaultdict[str, list[DerivedPair]] = defaultdict(list)
        for one in found:
            ends = (_digest(pairs, one.input), _digest(pairs, one.output))
            if ends[0] != ends[1] and ends not in known:
                shared = pairs[one.made_of[0]].before if rule != "chain" else pairs[one.made_of[0]].after
                held[shared].append(one)
        chosen = [
            one
            for group in held.values()
            for one in sorted(group, key=lambda one: stable_hash(rule, *(pairs[n].key for n in one.made_of)))[
                : per_image if rule != "inverse" else None
            ]
        ]
        for one in sorted(chosen, key=lambda one: one.made_of):
            ends = (_digest(pairs, one.input), _digest(pairs, one.output))
            if ends not in known:
                known.add(ends)
                yield one


def _inverses(pairs: Sequence[KnownPair]) -> Iterator[DerivedPair]:
    for number, pair in enumerate(pairs):
        words = inverse_words(pair.words)
        if words is not None:
            yield DerivedPair("inverse", words, (number, "after"), (number, "before"), (number,))


def _joined(pairs: Sequence[KnownPair], rule: Rule) -> Iterator[DerivedPair]:
    of_image: defaultdict[str, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        of_image[pair.before].append(number)
    for one, pair in enumerate(pairs):
        start = pair.after if rule == "chain" else pair.before
        for other in of_image.get(start, ()):
            if other == one:
                continue
            if rule == "chain":
                words = f"{_closed(pair.words)} Then {_small(pairs[other].words)}"
                yield DerivedPair(rule, words, (one, "before"), (other, "after"), (one, other))
                continue
            said = _rest(pair.words, pairs[other].words) if rule == "step" else _between(pair.words, pairs[other].words)
            if said is not None:
                yield DerivedPair(rule, said, (one, "after"), (other, "after"), (one, other))


def _between(first: str, second: str) -> str | None:
    """Returns how the result of `first` becomes the result of `second`; None where the words do not say it."""
    if _rest(first, second) is not None or _rest(second, first) is not None:
        return None
    a, b = (text.strip().rstrip(".!").lower().split() for text in (first, second))
    if len(a) == len(b) >= 4 and a[:-1] == b[:-1] and a[0] in ("make", "turn", "paint", "color", "change", "recolor"):
        return second  # "make the car red" and "make the car blue": the second overwrites the first
    back = inverse_words(first)
    return f"{_closed(back)} Then {_small(second)}" if back is not None else None


def _rest(first: str, whole: str) -> str | None:
    """Returns what `whole` says after the words of `first`; None if it does not begin with them or ends with them."""
    head = first.strip().rstrip(".!?,;")
    if not head or not whole.lower().startswith(head.lower()):
        return None
    rest = _JOINT.sub("", whole[len(head) :])
    boundary = whole[len(head) : len(head) + 1]
    if (
        len(rest.split()) < 2
        or boundary.isalnum()
        or (boundary == " " and not re.match(r" (and|then) ", whole[len(head) :]))
    ):
        return None
    return f"{rest[0].upper()}{rest[1:]}"


def _digest(pairs: Sequence[KnownPair], place: tuple[int, Side]) -> str:
    return str(getattr(pairs[place[0]], place[1]))


def _closed(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _small(words: str) -> str:
    first = words.split()[0] if words.split() else ""
    return words if len(first) > 1 and first[1].isupper() else f"{words[:1].lower()}{words[1:]}"
