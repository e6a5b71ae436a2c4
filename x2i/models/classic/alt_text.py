"""`alt-text`: the words a page already has about an image, cleaned; nothing where they say nothing about it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from x2i.models.abilities import Caption, PageText, RgbImage
from x2i.models.backend import Backend

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
    r"(an?|the)? ?(image|photo|photograph|picture|pic|foto|img|illustration|graphic|figure|thumbnail|screenshot)"
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


@dataclass(frozen=True)
class AltText(Backend):
    """Chooses between alt text, figcaption and title. Needs no pixels and writes no word of its own."""

    title: ClassVar[str] = "The words that a page or table already has about an image, cleaned"

    needs_pixels: ClassVar[bool] = False

    def caption(self, images: Sequence[RgbImage | None], texts: Sequence[PageText]) -> list[Caption | None]:
        """Returns the best cleaned text of each image with its source ("alt", "figcaption", "title"), or None."""
        return [choose(text) for text in texts]


def choose(text: PageText) -> Caption | None:
    """Returns the text with the most words, up to ENOUGH_WORDS; between equals alt, then figcaption, then title.

    Alt text is written to describe; a figcaption often tells a story and a title repeats: alt wins unless it is short.
    """
    cleaned = [Caption(clean(getattr(text, source)), source) for source in ("alt", "figcaption", "title")]
    usable = [caption for caption in cleaned if describes(caption.text)]
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


def describes(text: str) -> bool:
    """Returns False for file names, camera names, addresses, boilerplate and texts of fewer than two words."""
    return not is_file_name(text) and not says_nothing(text) and count_words(text) >= 2


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
