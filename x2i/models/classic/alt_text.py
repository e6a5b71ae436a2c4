"""`alt-text`: the words that came with an image; those of a web page cleaned, or none if they say nothing about it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from x2i.models.abilities import Caption, PageText, RgbImage
from x2i.models.backend import Backend
from x2i.options import Option
from x2i.words import WEB_TEXT

ENOUGH_WORDS = 4
MAX_CHARACTERS = 1000

_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")  # kana, Han, Hangul, Thai
_FILE_NAME = re.compile(r"\S+\.(jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif)", re.IGNORECASE)
_SPACED_FILE_NAME = re.compile(r"(?=.*[\d_])[^.]{1,80}\.(jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif)", re.IGNORECASE)
_CAMERA_NAME = re.compile(
    r"(img|dsc[nf]?|dcim|pxl|mvi|gopr|p|pict?|image|photo|picture|foto|screen ?shot|scan|untitled)[ _#-]*[\d_ -]+\w*"
    r"( at .*| \(\d+\)| copy)?",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(https?://|www\.|data:)\S*", re.IGNORECASE)
_OPENING = re.compile(
    r"(an?|the)? ?(image|photo|photograph|picture|pic|foto|img|illustration|graphic|figure|thumbnail|screenshot)\b"
    r"( (of|showing|for|from|by))?( (an?|the))?[ :.-]*",
    re.IGNORECASE,
)
_SAYS_NOTHING = frozenset(
    """
    alt text|no alt text|alternative text|no caption|caption|no description|description|no title|untitled image
    |no image available|no image|image not found|image not available|image placeholder|placeholder image
    |default image|featured image|feature image|header image|hero image|cover image|main image|background image
    |article image|post image|blog image|product image|product photo|profile image|profile picture|profile photo
    |user avatar|click to enlarge|click to view|click here|click for larger image|click image to enlarge|read more
    |view larger image|share on facebook|share on twitter|close icon|menu icon|search icon|loading|loading image
    |image result|image may contain|may be an image|company logo|site logo|stock photo|stock image|free image|file photo
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)


class Cleaned(StrEnum):
    """Whose words are cleaned."""

    ALT = "alt"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True)
class AltText(Backend):
    """Takes words written for the image as they are, and chooses between alt text, figcaption and title of a web page.

    Needs no pixels and writes no word of its own.
    """

    title: ClassVar[str] = "The words that came with an image; alt text of web pages is cleaned"
    code_version: ClassVar[str] = "2"

    needs_pixels: ClassVar[bool] = False

    clean: Annotated[Cleaned, Option("Whose words are cleaned: alt, those of web pages; all; or none.")] = Cleaned.ALT

    def caption(self, images: Sequence[RgbImage | None], texts: Sequence[PageText]) -> list[Caption | None]:
        """Returns the best cleaned text of each image with its source ("alt", "figcaption", "title"), or None."""
        return [choose(text, self.clean) for text in texts]


def choose(text: PageText, cleaning: Cleaned = Cleaned.ALT) -> Caption | None:
    """Returns words that are not to be cleaned as they are, else the cleaned text with the most words.

    Beyond ENOUGH_WORDS none has more; between equals alt, then figcaption, then title. Alt text is written to describe,
    a figcaption often tells a story and a title repeats: alt wins unless it is short.
    """
    is_web = text.text_source in ("", WEB_TEXT)
    if text.alt.strip() and cleaning is not Cleaned.ALL and (cleaning is Cleaned.NONE or not is_web):
        return Caption(text.alt, text.text_source or WEB_TEXT)
    sources = {"alt": text.text_source or WEB_TEXT, "figcaption": "figcaption", "title": "title"}
    cleaned = [Caption(clean(getattr(text, name)), source) for name, source in sources.items()]
    usable = [caption for caption in cleaned if describes(caption.text, text.file_name)]
    return max(usable, key=lambda caption: min(count_words(caption.text), ENOUGH_WORDS), default=None)


def clean(text: str) -> str:
    """Returns `text` without HTML entities, tags, control characters, doubled spaces and enclosing quotes."""
    text = html.unescape(html.unescape(text))  # twice: pages escape what their editor had escaped already
    text = unicodedata.normalize("NFC", _TAG.sub(" ", text))
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Co", "Cn", "Cs") or c in "\u200c\u200d")
    text = _SPACE.sub(" ", text).strip(" |·•\u2013\u2014-_")
    for opening, closing in ('""', "''", "“”", "\u2018\u2019", "«»"):
        if len(text) > 2 and text[0] == opening and text[-1] == closing and opening not in text[1:-1]:
            text = text[1:-1].strip()
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS].rsplit(" ", 1)[0]
    return text


def describes(text: str, file_name: str = "") -> bool:
    """Returns False for file names, camera names, addresses, boilerplate and texts of fewer than two words.

    Also for one word after boilerplate, such as "A photograph: city", if a mark divides them or it names the file.
    """
    if is_file_name(text) or says_nothing(text) or count_words(text) < 2:
        return False
    opening = _OPENING.match(text)
    if opening is None or count_words(rest := text[opening.end() :]) > 1:
        return True
    return not opening[0].rstrip().endswith((":", ".", "-")) and _plain(rest) != _plain(file_name.rpartition(".")[0])


def _plain(text: str) -> str:
    """Returns the letters of a text alone, in one case."""
    return "".join(filter(str.isalpha, text.casefold()))


def is_file_name(text: str) -> bool:
    """Returns whether `text` is the name of a file or of a camera's picture, or an address."""
    return any(p.fullmatch(_bare(text)) for p in (_FILE_NAME, _SPACED_FILE_NAME, _CAMERA_NAME, _ADDRESS))


def says_nothing(text: str) -> bool:
    """Returns whether `text` stands where a description should, such as "image placeholder" or "photo of a"."""
    bare = _bare(text)
    return bare in _SAYS_NOTHING or _OPENING.fullmatch(bare + " ") is not None


def _bare(text: str) -> str:
    return text.casefold().strip(" .:;,!?()[]")


def count_words(text: str) -> int:
    """Words of two letters or more; scripts without spaces count one word for two characters."""
    unspaced = len(_UNSPACED.findall(text))
    return len(_WORD.findall(_UNSPACED.sub(" ", text))) + unspaced // 2
