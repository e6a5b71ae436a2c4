"""Text on pictures: two typefaces that need no system fonts, wrapping, and numbered chips set into the line."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x2i.inspect.palette import chip_color
from x2i.sample import PLACEHOLDER_PATTERN

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

ELLIPSIS = "..."
NOT_A_CHARACTER = "\uffff"
SYSTEM_FONTS = (Path("/usr/share/fonts/truetype/dejavu"), Path("/usr/share/fonts/dejavu-sans-fonts"))
PLAIN = str.maketrans(
    {"\u00d7": "x", "\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)
_TOKEN = re.compile(r"(<img><\|image_\d+\|></img>|\s+)")


@dataclass(frozen=True)
class Chip:
    """A numbered marker in a line of text; stands for input image `number`."""

    number: int


Piece = str | Chip
Word = tuple[Piece, ...]


@dataclass(frozen=True)
class Face:
    """A typeface at one size in pixels: Pillow's own Aileron, and DejaVu (if matplotlib is there) for what it lacks."""

    size: int
    bold: bool = False

    @property
    def line_height(self) -> int:
        return round(self.size * 1.45)

    @property
    def chip_width(self) -> int:
        return round(self.size * 1.25) + 3

    def width(self, word: Piece) -> float:
        """Returns the width of a word or chip in pixels."""
        if isinstance(word, Chip):
            return float(self.chip_width)
        font, text = self._set(word)
        return font.getlength(text) + (0.5 if self.bold else 0.0)

    def draw(self, draw: ImageDraw, at: tuple[float, float], word: Piece, fill: str) -> None:
        """Draws a word or chip with its left end at x and its line's top at y."""
        x, y = at
        if isinstance(word, Chip):
            draw_chip(draw, (round(x), round(y + (self.line_height - self.size * 1.2) / 2)), word.number, self.size)
            return
        baseline = y + self.line_height * 0.72
        font, text = self._set(word)
        draw.text((x, baseline), text, font=font, fill=fill, anchor="ls")
        if self.bold:
            draw.text((x + 0.5, baseline), text, font=font, fill=fill, anchor="ls")

    def _set(self, word: str) -> tuple[Any, str]:
        """Chooses the font for a whole word, since half a word in another typeface is harder to read than all of it."""
        main, other = _fonts(self.size)
        if all(_has_glyph(self.size, character) for character in word):
            return main, word
        return (other, word) if other is not None else (main, _plain_latin(word))


@dataclass(frozen=True)
class Paragraph:
    """Text broken into lines of at most `width` pixels, chips in place of placeholders."""

    text: str
    face: Face
    width: int
    most_lines: int = 1000

    @cached_property
    def lines(self) -> list[list[Word]]:
        lines: list[list[Word]] = [[]]
        used = 0.0
        space = self.face.width(" ")
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
        return len(self.lines) * self.face.line_height

    def draw(self, draw: ImageDraw, at: tuple[int, int], fill: str) -> None:
        """Draws the paragraph with its top left corner at (x, y)."""
        space = self.face.width(" ")
        for number, line in enumerate(self.lines):
            x = float(at[0])
            for word in line:
                for piece in word:
                    self.face.draw(draw, (x, at[1] + number * self.face.line_height), piece, fill)
                    x += self.face.width(piece)
                x += space

    def _width(self, word: Word) -> float:
        return sum(self.face.width(piece) for piece in word)

    def _words(self) -> Iterator[Word]:
        """Yields what stands between spaces; a chip and the comma behind it stay together."""
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
            *whole, rest = (Chip(int(marker[1])),) if marker else self._pieces(token)
            for piece in whole:
                yield (*word, piece)
                word = []
            word.append(rest)
        if word:
            yield tuple(word)

    def _pieces(self, word: str) -> Iterator[str]:
        """Breaks a word that is wider than the line (an address, a key) where it must break."""
        while self.face.width(word) > self.width and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or self.face.width(word[:n]) <= self.width)
            yield word[:fits]
            word = word[fits:]
        yield word


def draw_chip(draw: ImageDraw, at: tuple[int, int], number: int, size: int) -> None:
    """Draws the numbered chip of input image `number`, about `size` * 1.25 pixels square, at its top left corner."""
    side = round(size * 1.25)
    box = (at[0], at[1], at[0] + side - 1, at[1] + side - 1)
    draw.rounded_rectangle(box, radius=max(3, side // 4), fill=chip_color(number))
    font = _fonts(max(8, round(size * 0.88)))[0]
    draw.text((at[0] + side / 2, at[1] + side / 2), str(number), font=font, fill="#ffffff", anchor="mm")


@lru_cache(maxsize=64)
def _fonts(size: int) -> tuple[Any, Any | None]:
    """Returns Pillow's own typeface, and one with more scripts where some package or the system has brought it."""
    from PIL import ImageFont

    spec = importlib.util.find_spec("matplotlib")
    bundled = [Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"] if spec and spec.origin else []
    for folder in (*bundled, *SYSTEM_FONTS):
        if (folder / "DejaVuSans.ttf").exists():
            return ImageFont.load_default(size), ImageFont.truetype(str(folder / "DejaVuSans.ttf"), round(size * 0.92))
    return ImageFont.load_default(size), None


@lru_cache(maxsize=4096)
def _has_glyph(size: int, character: str) -> bool:
    """Whether the main typeface can draw `character`: one that it lacks looks like one that cannot exist."""
    if character.isascii():
        return True
    font = _fonts(size)[0]
    return bytes(font.getmask(character)) != bytes(font.getmask(NOT_A_CHARACTER))


def _plain_latin(word: str) -> str:
    """Returns `word` with accents taken off and typographic marks made plain: better than empty boxes."""
    folded = unicodedata.normalize("NFKD", word.translate(PLAIN))
    return "".join(character for character in folded if not unicodedata.combining(character))
