"""caption_quality: what is wrong with the words of every caption."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.models.classic.alt_text import count_words, is_file_name, says_nothing
from x2i.models.prompts import QUOTED, is_refusal
from x2i.options import Option
from x2i.reasons import Dropped, Reason

_BOILERPLATE = re.compile(
    r"\b(stock (photos?|photography|images?|pictures?|illustrations?|vectors?|footage)|royalty[- ]free"
    r"|shutterstock|istock(photo)?|getty ?images|alamy|dreamstime|depositphotos|adobe stock|123rf"
    r"|all rights reserved|terms of (use|service)|privacy policy|cookies? (policy|consent)|accept (all )?cookies"
    r"|click (here|to|for|on|image)|read more|learn more|sign up|subscribe (now|to)|log ?in to|add to cart"
    r"|buy (it )?now|free (shipping|download|delivery)|for sale|on sale|shop now|download (now|free|this)"
    r"|pin it|share on|(image|photo|picture) (result|may contain|unavailable|not (found|available))|lorem ipsum)\b|https?://|www\.|©|™|®",
    re.IGNORECASE,
)
_INCH = re.compile(r"(?<=\d)\s?\"")


@dataclass(frozen=True)
class CaptionQuality(PixelAnnotation):
    """Measure the words of a caption column; nothing is dropped.

    words: of two letters or more; in scripts without spaces, half the characters. characters: all of them. letters:
    share of the characters that are letters, 0 to 1. is_file_name: the name of a file or an address. is_boilerplate:
    words of a web page or a stock agency that say nothing about the picture. is_refusal: a model says that it cannot
    describe it. has_unbalanced_quotes: a quotation mark that opens or closes nothing, as in texts that were cut.
    """

    name: ClassVar[str] = "caption_quality"
    title: ClassVar[str] = "Length and faults of the captions"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("words", pa.int32()),
        pa.field("characters", pa.int32()),
        pa.field("letters", pa.float32()),
        *(pa.field(name, pa.bool_()) for name in ("is_file_name", "is_boilerplate", "is_refusal")),
        pa.field("has_unbalanced_quotes", pa.bool_()),
    )
    kept: ClassVar[str] = "NOT (is_file_name OR is_boilerplate OR is_refusal OR has_unbalanced_quotes)"

    captions: Annotated[str, Option("The column of captions.")] = "captions"

    @property
    def pixels(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.captions,)

    def facts(self, image: StoredImage) -> Verdict:
        text = image.one(self.captions, "caption")
        if not text:
            return Dropped(Reason.NO_CAPTION)
        return {
            "words": count_words(text),
            "characters": len(text),
            "letters": sum(map(str.isalpha, text)) / len(text),
            "is_file_name": is_file_name(text),
            "is_boilerplate": is_boilerplate(text),
            "is_refusal": is_refusal(text),
            "has_unbalanced_quotes": has_unbalanced_quotes(text),
        }


def is_boilerplate(text: str) -> bool:
    """Returns whether `text` is a placeholder, or advertises, links or licenses instead of describing."""
    return says_nothing(text) or _BOILERPLATE.search(QUOTED.sub(" ", text)) is not None


def has_unbalanced_quotes(text: str) -> bool:
    """Returns whether the marks " “ ” „ do not come in pairs, or « and » differ in number. Inches do not count."""
    bare = _INCH.sub("", text)
    return bare.count('"') % 2 == 1 or sum(map(bare.count, "“”„")) % 2 == 1 or bare.count("«") != bare.count("»")
