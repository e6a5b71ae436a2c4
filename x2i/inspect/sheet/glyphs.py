"""Which typeface draws a character: DejaVu Sans, which comes with this package, or a font of the system that has it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

NO_CHARACTER = "\uffff"
LISTED = r"%{color}\t%{scalable}\t%{style}\t%{file}\t%{index}\t%{charset}\n"
VARIATION_SELECTORS = range(0xFE00, 0xFE10)


@dataclass(frozen=True)
class FontFile:
    """A font of the system. index: its place in the file. charset: what it has, as fontconfig writes it: "20-7e a9"."""

    path: str
    index: int
    charset: str

    def has(self, character: str) -> bool:
        """Whether the font has a character."""
        return any(low <= ord(character) <= high for low, high in _ranges(self.charset))


@lru_cache(maxsize=4096)
def runs(text: str) -> tuple[tuple[str, FontFile | None], ...]:
    """Returns `text` in pieces of one font each; None stands for DejaVu Sans.

    A character that no font has is written as its escape, such as \\u4e2d; marks without a shape are left out.
    """
    drawn = itertools.chain.from_iterable(map(_drawn, text))
    groups = itertools.groupby(drawn, key=lambda pair: pair[1])
    return tuple(("".join(shown for shown, _ in pairs), font) for font, pairs in groups)


@lru_cache(maxsize=16384)
def _drawn(character: str) -> tuple[tuple[str, FontFile | None], ...]:
    """Returns what is drawn for a character, in which font."""
    if character.isascii() or _is_in_dejavu(character):
        return ((character, None),)
    if unicodedata.category(character) == "Cf" or ord(character) in VARIATION_SELECTORS:
        return ()
    font = next((font for font in system_fonts() if font.has(character)), None)
    return ((character, font),) if font is not None else ((ascii(character)[1:-1], None),)


@lru_cache(maxsize=64)
def typeface(size: int, font: FontFile | None = None) -> FreeTypeFont:
    """Returns a font at `size` pixels; None is DejaVu Sans."""
    from PIL import ImageFont

    if font is not None:
        return ImageFont.truetype(font.path, round(size * 0.92), font.index)
    return _dejavu(round(size * 0.92), shapes=True)


def _dejavu(pixels: int, *, shapes: bool) -> FreeTypeFont:
    """Returns DejaVu Sans. shapes: with ligatures and marks on letters, not one shape for each character."""
    from PIL import ImageFont

    with resources.as_file(resources.files("x2i.inspect.sheet") / "fonts" / "DejaVuSans.ttf") as path:
        return ImageFont.truetype(path, pixels, layout_engine=None if shapes else ImageFont.Layout.BASIC)


@cache
def system_fonts() -> tuple[FontFile, ...]:
    """Returns the outline fonts that fontconfig knows, upright sans serif first; none where it is not installed."""
    program = shutil.which("fc-list")
    if program is None:
        return ()
    listed = subprocess.run([program, "-f", LISTED], capture_output=True, text=True, errors="replace", check=False)
    return tuple(font for _, font in sorted(_parsed(listed.stdout), key=lambda pair: pair[0]))


def _parsed(lines: str) -> Iterator[tuple[tuple[bool, bool, str, int], FontFile]]:
    """Yields each outline font after its rank."""
    for line in lines.splitlines():
        color, scalable, style, path, index, charset = line.split("\t")
        if color != "True" and scalable == "True" and int(index) < 1 << 16:  # the rest are instances of variable fonts
            rank = ("Regular" not in style and "Book" not in style, "sans" not in path.lower(), path, int(index))
            yield rank, FontFile(path, int(index), charset)


@cache
def _ranges(charset: str) -> tuple[tuple[int, int], ...]:
    bounds = (part.partition("-") for part in charset.split())
    return tuple((int(low, 16), int(high or low, 16)) for low, _, high in bounds)


def _is_in_dejavu(character: str) -> bool:
    font = _plain_dejavu()
    return bytes(font.getmask(character)) != bytes(font.getmask(NO_CHARACTER))


@cache
def _plain_dejavu() -> FreeTypeFont:
    return _dejavu(16, shapes=False)
