"""Asking again: planted swaps of sides and of directions are caught, honest writers agree with themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.chat_server import ChatServer
from tests.support.photos import photo
from x2i.models.registry import Ability, load
from x2i.pairs.consistency import RgbImage, agreement, ask_again, judged
from x2i.pairs.writer import PAIR_PROMPT, PairWriter

MARK = np.array([255, 0, 255], np.uint8)


def with_mark(side: str) -> RgbImage:
    """Returns a photograph with a magenta box on its left or right side."""
    image = photo("coffee", 96).copy()
    x = 10 if side == "left" else image.shape[1] - 30
    image[20:40, x : x + 20] = MARK
    return image


class Looker:
    """Sees on which side of which image the box is. confused: says the same side whatever it sees."""

    def __init__(self, confused: bool = False, one_way: bool = False) -> None:
        self.confused, self.one_way = confused, one_way

    def write(self, pairs: Sequence[tuple[RgbImage, RgbImage]]) -> list[str]:
        return [self._line(*pair) for pair in pairs]

    def _line(self, before: RgbImage, after: RgbImage) -> str:
        has_before = bool((before == MARK).all(2).any())
        seen = before if has_before else after
        xs = np.nonzero((seen == MARK).all(2))[1]
        side = "left" if self.confused or xs.mean() < seen.shape[1] / 2 else "right"
        if has_before and not self.one_way:
            return f"Remove the box on the {side}."
        return f"Add a box on the {side}."


def test_an_honest_writer_agrees_with_itself_on_the_mirrored_and_on_the_swapped_pair() -> None:
    plain = photo("coffee", 96)
    for side in ("left", "right"):
        (found,) = ask_again(Looker(), [(plain, with_mark(side))], [None])
        assert found.written == f"Add a box on the {side}."
        assert found.sides_swapped
        assert (found.mirror, found.swap) == (1.0, 1.0)


def test_planted_swaps_are_caught() -> None:
    pair = (photo("coffee", 96), with_mark("left"))
    (confused,) = ask_again(Looker(confused=True), [pair], [None])
    assert not confused.sides_swapped
    assert confused.mirror == 0.0
    (planted,) = ask_again(Looker(), [pair], ["Add a box on the right."])
    assert planted.mirror == 0.0
    (one_way,) = ask_again(Looker(one_way=True), [pair], [None])
    assert one_way.swap == 0.0
    (turned,) = ask_again(Looker(), [pair], ["Remove the box on the left."])
    assert turned.swap == 0.0


def test_other_words_for_the_same_deed_agree_and_opposites_do_not() -> None:
    assert agreement("Remove the dog from the lawn.", "Erase the dog on the lawn") > 0.9
    assert agreement("Remove the dog", "Add the dog") == 0.0
    assert agreement("Move the cup to the left", "Move the cup to the right") == 0.0
    assert judged(None, "x", "y").mirror is None


def test_a_captioning_server_is_the_writer(tmp_path: Path) -> None:
    with ChatServer([("Add a box.", "stop"), ("Add a box.", "stop"), ("Remove the box.", "stop")]) as server:
        options = {"prompt": PAIR_PROMPT, "concurrency": 1, "cache": str(tmp_path)}
        writer = PairWriter(load(Ability.CAPTIONER, f"openai:{server.url}#m", options))
        (found,) = ask_again(writer, [(photo("coffee", 96), with_mark("left"))], [None])
    assert (found.written, found.swap, found.mirror) == ("Add a box.", 1.0, 1.0)
    assert len(server.seen) == 3
