"""Text on pictures: wrapping, and numbered badges set into the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from x2i.inspect.palette import badge_color
from x2i.inspect.sheet.glyphs import runs, typeface
from x2i.sample import PLACEHOLDER_PATTERN

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

ELLIPSIS = "..."
BOLD_STROKE = 0.4  # pixels around every letter
_TOKEN = re.compile(r"(<img><\|image_\d+\|></img>|\s+)")


@dataclass(frozen=True)
class ImageBadge:
    """A numbered marker in a line of text; stands for input image `number`."""

    number: int


Piece = str | ImageBadge
Word = tuple[Piece, ...]


@dataclass(frozen=True)
class Font:
    """DejaVu Sans at one size in pixels, and what the system has for the characters that it lacks."""

    size: int
    bold: bool = False

    @property
    def line_height(self) -> int:
        return round(self.size * 1.45)

    def width(self, word: Piece) -> float:
        """Returns the width of a word or badge in pixels."""
        if isinstance(word, ImageBadge):
            return round(self.size * 1.25) + 3.0
        return sum(typeface(self.size, font).getlength(text) for text, font in runs(word))

    def fitted(self, text: str, width: float) -> str:
        """Returns `text`, its middle cut out where it is wider than `width` pixels: names differ at their ends."""
        left = len(text)
        while left > 1 and self.width(shown := _without_middle(text, left)) > width:
            left -= 1
        return shown if left > 1 else text

    def draw(self, draw: ImageDraw, at: tuple[float, float], word: Piece, fill: str) -> None:
        """Draws a word or badge with its left end at x and its line's top at y."""
        x, y = at
        if isinstance(word, ImageBadge):
            draw_badge(draw, (round(x), round(y + (self.line_height - self.size * 1.2) / 2)), word.number, self.size)
            return
        stroke = BOLD_STROKE if self.bold else 0
        for text, file in runs(word):
            font = typeface(self.size, file)
            baseline = (x, y + self.line_height * 0.72)
            draw.text(baseline, text, font=font, fill=fill, anchor="ls", stroke_width=stroke)
            x += font.getlength(text)


@dataclass(frozen=True)
class Paragraph:
    """Text broken into lines of at most `width` pixels, badges in place of placeholders."""

    text: str
    font: Font
    width: int
    most_lines: int = 1000

    @cached_property
    def lines(self) -> list[list[Word]]:
        lines: list[list[Word]] = [[]]
        used = 0.0
        space = self.font.width(" ")
        for word in self._words():
            needed = self._width(word)
            if lines[-1] and used + space + needed > self.width:
                lines.append([])
                used = 0.0
            used += needed + (space if lines[-1] else 0.0)
            lines[-1].append(word)
        if len(lines) > self.most_lines:
            lines = lines[: self.most_lines]
            lines[-1] = [*lines[-1][:-1], (ELLIPSIS,)]
        return lines

    @property
    def height(self) -> int:
        return len(self.lines) * self.font.line_height

    def draw(self, draw: ImageDraw, at: tuple[int, int], fill: str) -> None:
        """Draws the paragraph with its top left corner at (x, y)."""
        space = self.font.width(" ")
        for number, line in enumerate(self.lines):
            x = float(at[0])
            for word in line:
                for piece in word:
                    self.font.draw(draw, (x, at[1] + number * self.font.line_height), piece, fill)
                    x += self.font.width(piece)
                x += space

    def _width(self, word: Word) -> float:
        return sum(self.font.width(piece) for piece in word)

    def _words(self) -> Iterator[Word]:
        """Yields what stands between spaces; a badge and the comma behind it stay together."""
        word: list[Piece] = []
        for token in _TOKEN.split(self.text):
            if not token:
                continue
            if token.isspace():
                if word:
                    yield tuple(word)
                word = []
                continue
            marker = PLACEHOLDER_PATTERN.fullmatch(token)
            *whole, rest = (ImageBadge(int(marker[1])),) if marker else self._pieces(token)
            for piece in whole:
                yield (*word, piece)
                word = []
            word.append(rest)
        if word:
            yield tuple(word)

    def _pieces(self, word: str) -> Iterator[str]:
        """Breaks a word that is wider than the line (an address, a key) where it must break."""
        while self.font.width(word) > self.width and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or self.font.width(word[:n]) <= self.width)
            yield word[:fits]
            word = word[fits:]
        yield word


def _without_middle(text: str, left: int) -> str:
    """Returns `left` characters of a text from both its ends, the whole if it has no more."""
    return text if left >= len(text) else text[: left // 2] + ELLIPSIS + text[len(text) - (left - left // 2) :]


def draw_badge(draw: ImageDraw, at: tuple[int, int], number: int, size: int) -> None:
    """Draws the numbered badge of input image `number`, about `size` * 1.25 pixels square, at its top left corner."""
    side = round(size * 1.25)
    box = (at[0], at[1], at[0] + side - 1, at[1] + side - 1)
    draw.rounded_rectangle(box, radius=max(3, side // 4), fill=badge_color(number))
    font = typeface(max(8, round(size * 0.88)))
    draw.text((at[0] + side / 2, at[1] + side / 2), str(number), font=font, fill="#ffffff", anchor="mm")
