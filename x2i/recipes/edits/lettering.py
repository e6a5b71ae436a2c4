"""Text on photographs, edited: known words in a known font, box and color."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.edits.base import Edit, Edited
from x2i.recipes.edits.translations import LANGUAGES, TRANSLATIONS
from x2i.recipes.masks import Mask
from x2i.recipes.restoration.base import Range, draw, one_of
from x2i.recipes.restoration.lettering import typeface

INKS = {
    "white": (250, 250, 250),
    "black": (15, 15, 15),
    "red": (215, 25, 30),
    "yellow": (250, 215, 40),
    "blue": (30, 70, 200),
    "green": (25, 140, 60),
    "orange": (240, 130, 25),
    "purple": (125, 45, 155),
}
PLACES = {
    "at the top": (0.5, 0.0),
    "at the bottom": (0.5, 1.0),
    "in the middle": (0.5, 0.5),
    "at the top left": (0.0, 0.0),
    "at the top right": (1.0, 0.0),
    "at the bottom left": (0.0, 1.0),
    "at the bottom right": (1.0, 1.0),
}
WORDS = (
    "SALE",
    "OPEN",
    "Welcome",
    "Hello",
    "Coffee",
    "Good morning",
    "Thank you",
    "No parking",
    "EXIT",
    "Happy birthday",
    "Summer 2024",
    "Menu",
    "Fresh bread",
    "Keep out",
    "Level 3",
    "Room 204",
    "Best friends",
    "Never give up",
    "LIVE",
    "Free entry",
    "Closed on Monday",
    "Since 1987",
    "Big city",
    "Platform 9",
    "Home sweet home",
    "Take away",
    "New arrivals",
    "Follow me",
    "50% off",
    "Do not touch",
    "The end",
    "Chapter one",
    "Good night",
    "Wet paint",
)


@dataclass(frozen=True)
class Line:
    """A line of text. place: a key of PLACES. size: height of the letters as a share of the shorter side."""

    text: str
    color: str
    place: str
    size: float

    def as_json(self, box: list[int]) -> dict[str, Any]:
        return {"text": self.text, "color": self.color, "place": self.place, "box": box, "font": "DejaVu Sans"}


@dataclass(frozen=True)
class TextEdit(Edit):
    """An edit of one line of text that is drawn over the photograph."""

    mirrorable = False

    changed: Annotated[
        Range, Option("Share of the pixels that the edit changes visibly; others are dropped.", ge=0, le=1)
    ] = (0.001, 0.9)
    size: Annotated[Range, Option("Height of the letters as a share of the shorter side.", gt=0, le=0.5)] = (0.07, 0.16)

    def line(self, image: RgbImage, text: str, random: np.random.Generator) -> Line:
        """Returns a line at a place drawn at random, in a color that stands out from the photograph there."""
        place, size = one_of(tuple(PLACES), random), draw(self.size, random)
        _, mask = lettered(image, Line(text, "white", place, size))
        under = image[_box_of(mask)].reshape(-1, 3).mean(0)
        readable = tuple(name for name, rgb in INKS.items() if np.abs(np.array(rgb) - under).mean() > 70)
        return Line(text, one_of(readable or ("white", "black"), random), place, size)

    def between(
        self,
        before: tuple[RgbImage, Mask | None, Line | None],
        after: tuple[RgbImage, Mask | None, Line | None],
        request: str,
        slots: Mapping[str, str | None],
    ) -> Edited:
        """Returns the sample of two sides: an image, the mask of its text and the line, None without text."""
        empty = np.zeros(before[0].shape[:2], bool)
        before_mask, after_mask = (mask if mask is not None else empty for _, mask, _ in (before, after))
        lines = {
            name: line.as_json(box_of(mask))
            for name, (_, mask, line) in (("text_before", before), ("text_after", after))
            if mask is not None and line is not None
        }
        changes = {"replaced": True} if len(lines) == 2 else {}
        return Edited(
            before[0], after[0], before_mask, after_mask, request, slots, {**lines, **changes}, mirrorable=False
        )


@dataclass(frozen=True)
class AddText(TextEdit):
    """The photograph in, the photograph with a line of text out."""

    name = "add_text"
    title = "Photograph to the photograph with given words on it"
    operation = "adding a text"
    requests = (
        'add the text "{text}" in {color} {place}',
        'write "{text}" {place} in {color}',
        'put the words "{text}" {place} in {color} letters',
        'print "{text}" {place} in {color}',
        'add a line {place} in {color} that says "{text}"',
    )

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited:
        line = self.line(source.pixels, one_of(WORDS, random), random)
        written, mask = lettered(source.pixels, line)
        slots = {"text": line.text, "color": line.color, "place": line.place}
        request = self.said(random, **slots)
        return self.between((source.pixels, None, None), (written, mask, line), request, slots)


@dataclass(frozen=True)
class EraseText(TextEdit):
    """The photograph with a line of text in, the photograph out."""

    name = "erase_text"
    title = "Photograph with given words on it to the photograph"
    operation = "erasing a text"
    requests = ('remove the text "{text}"', 'erase the words "{text}"', 'take "{text}" off the picture')

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited:
        line = self.line(source.pixels, one_of(WORDS, random), random)
        written, mask = lettered(source.pixels, line)
        slots = {"text": line.text}
        return self.between(
            (written, mask, line), (source.pixels, None, None), self.said(random, text=line.text), slots
        )


@dataclass(frozen=True)
class ReplaceText(TextEdit):
    """A line of text replaced by other words in the same place, font and color."""

    name = "replace_text"
    title = "Photograph with words on it to the same with other words"
    operation = "replacing a text"
    requests: ClassVar[tuple[str, ...]] = (
        'change the text "{text}" to "{new}"',
        'replace "{text}" with "{new}"',
        'let it say "{new}" instead of "{text}"',
        'swap the words "{text}" for "{new}"',
    )

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited | Dropped:
        text = one_of(WORDS, random)
        new = one_of(tuple(word for word in WORDS if word != text), random)
        return self.replaced(source.pixels, text, new, {"text": text, "new": new}, random)

    def replaced(
        self, image: RgbImage, text: str, new: str, slots: Mapping[str, str], random: np.random.Generator
    ) -> Edited | Dropped:
        """Returns both sides: the photograph with `text`, and with `new` at the same place."""
        line = self.line(image, text, random)
        other = Line(new, line.color, line.place, line.size)
        sides = [(*lettered(image, one), one) for one in (line, other)]
        if text == new:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"{text!r} is the same in both")
        return self.between(sides[0], sides[1], self.said(random, **slots), dict(slots))


@dataclass(frozen=True)
class TranslateText(ReplaceText):
    """A line of text translated, from a list of signs and greetings."""

    name = "translate_text"
    title = "Photograph with words on it to the same in another language"
    operation = "translating a text"
    requests = (
        "translate the text into {language}",
        'translate "{text}" into {language}',
        "change the words to {language}",
        'put "{text}" into {language}',
        "replace the words by their {language} translation",
    )

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited | Dropped:
        row = TRANSLATIONS[int(random.integers(len(TRANSLATIONS)))]
        start = int(random.integers(len(LANGUAGES)))
        others = [number for number, word in enumerate(row) if word != row[start]]
        end = others[int(random.integers(len(others)))]
        slots = {"text": row[start], "new": row[end], "language": LANGUAGES[end]}
        return self.replaced(source.pixels, row[start], row[end], slots, random)


@dataclass(frozen=True)
class RecolorText(TextEdit):
    """A line of text in another color."""

    name = "recolor_text"
    title = "Photograph with words on it to the same in another color"
    operation = "recoloring a text"
    requests = (
        'change the color of the text "{text}" to {color}',
        'make the words "{text}" {color}',
        "turn the lettering {color}",
        'recolor "{text}" in {color}',
        "use {color} for the letters",
    )

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited:
        line = self.line(source.pixels, one_of(WORDS, random), random)
        color = one_of(tuple(name for name in INKS if name != line.color), random)
        other = Line(line.text, color, line.place, line.size)
        sides = [(*lettered(source.pixels, one), one) for one in (line, other)]
        slots = {"text": line.text, "color": color}
        return self.between(sides[0], sides[1], self.said(random, **slots), slots)


def lettered(image: RgbImage, line: Line) -> tuple[RgbImage, Mask]:
    """Returns the photograph_HWC with a line of text over it, made to fit its width, and the mask_HW of what it covers.

    Letters have a thin edge, dark around light ones and light around dark ones.
    """
    from PIL import Image, ImageDraw

    height, width = image.shape[:2]
    font = typeface(max(8, round(line.size * min(height, width))))
    if font.getlength(line.text) > 0.9 * width:
        font = typeface(max(6, int(font.size * 0.9 * width / font.getlength(line.text))))
    stroke = max(1, round(font.size / 16))
    cover = Image.new("L", (width, height))
    x0, y0, x1, y1 = ImageDraw.Draw(cover).textbbox((0, 0), line.text, font=font, stroke_width=stroke)
    margin = round(0.04 * min(height, width))
    across, down = PLACES[line.place]
    x = round(margin + across * max(0, width - 2 * margin - (x1 - x0)) - x0)
    y = round(margin + down * max(0, height - 2 * margin - (y1 - y0)) - y0)
    ImageDraw.Draw(cover).text((x, y), line.text, fill=255, font=font, stroke_width=stroke)
    ink = INKS[line.color]
    edge = INKS["black" if sum(ink) > 380 else "white"]
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text((x, y), line.text, fill=ink, font=font, stroke_width=stroke, stroke_fill=edge)
    return np.array(picture), np.asarray(cover) > 0


def box_of(mask: Mask) -> list[int]:
    """Returns the box x0, y0, x1, y1, half-open, of a mask_HW."""
    rows, columns = _box_of(mask)
    return [columns.start, rows.start, columns.stop, rows.stop]


def _box_of(mask: Mask) -> tuple[slice, slice]:
    ys, xs = np.nonzero(mask)
    return slice(int(ys.min()), int(ys.max()) + 1), slice(int(xs.min()), int(xs.max()) + 1)
