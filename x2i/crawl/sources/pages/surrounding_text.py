"""The text around an image on its page: of the enclosing element, or just before and after it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from selectolax.lexbor import LexborNode

CONTEXT_LENGTH = 500
ENOUGH_CONTEXT = 40
_LEVELS, _SIBLINGS = 3, 4
_NODES = 100
"""How far is looked into one element, so that a page of many images costs no more than in proportion to its size."""
_NO_WORDS = ("script", "style", "template", "textarea", "select")


class SurroundingText:
    """Finds the context of the images of one page; remembers what elements say, since images share them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, bool]] = {}

    def context(self, node: LexborNode) -> str:
        """Returns the text around `node`: of an enclosing element up to three levels above, else before and after."""
        text = ""
        parent = node.parent
        for _ in range(_LEVELS):
            if parent is None or parent.tag in ("body", "html"):
                break
            text, _ = self._words(parent)
            if len(text) >= ENOUGH_CONTEXT:
                return text[:CONTEXT_LENGTH]
            node, parent = parent, parent.parent
        around = f"{self._beside(node, lambda n: n.prev)} {text} {self._beside(node, lambda n: n.next)}"
        return squeeze(around)[:CONTEXT_LENGTH]

    def _beside(self, node: LexborNode, step: Callable[[LexborNode], LexborNode | None]) -> str:
        """Returns the nearest text beside `node`, looking past what holds none, up to the next image."""
        sibling = step(node)
        for _ in range(_SIBLINGS):
            if sibling is None:
                break
            text, has_image = self._words(sibling)
            if has_image:
                break
            if text:
                return text
            sibling = step(sibling)
        return ""

    def _words(self, node: LexborNode) -> tuple[str, bool]:
        known = self._known.get(node.mem_id)
        if known is None:
            known = self._known[node.mem_id] = _first_words(node)
        return known


def _first_words(node: LexborNode) -> tuple[str, bool]:
    """Returns the text that `node` begins with, and whether an image stands in it."""
    pieces: list[str] = []
    length, has_image = 0, False
    for inner in itertools.islice(node.traverse(include_text=True), _NODES):
        tag = inner.tag
        if tag == "img":
            has_image = True
        piece = text_of(inner) if tag == "-text" and length <= CONTEXT_LENGTH else ""
        if piece:
            pieces.append(piece)
            length += len(piece) + 1
    return " ".join(pieces), has_image


def text_of(node: LexborNode) -> str:
    """Returns the words of a text node; "" inside elements whose text is not for readers."""
    parent = node.parent
    if parent is not None and parent.tag in _NO_WORDS:
        return ""
    return squeeze(node.text_content or "")


def squeeze(text: str) -> str:
    return " ".join(text.split())
