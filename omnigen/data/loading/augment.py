"""Mirroring a whole sample, inputs and output together, where neither its recipe nor the words forbid it.

A mirrored photograph is as good as its original as long as nothing in it or said of it has a side: "the cup on the
left", a page of text, a skeleton whose colors tell left limbs from right ones. So the rule refuses when in doubt: a
sample whose recipe does not say that it may be mirrored, a word that could be about sides or letters, and an
instruction in a script that the list of words does not cover keep the sample as it is.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from x2i.seeding import unit_interval

SIDE_WORDS = """
    left right lefts rights leftmost rightmost lefthand righthand leftward leftwards rightward rightwards leftside
    rightside clockwise counterclockwise anticlockwise mirror mirrors mirrored mirroring flip flips flipped flipping
    reverse reversed reversing rotate rotates rotated rotating rotation east west eastern western eastward westward
    northeast northwest southeast southwest port starboard handed handedness sideways profile asymmetric asymmetrical
    links rechts linke linken linker rechte rechten rechter gauche droite droit izquierda izquierdo derecha derecho
    sinistra sinistro destra destro esquerda esquerdo direita direito
"""

LETTER_WORDS = """
    text texts letter letters lettered lettering word words worded wording write writes writing writings written wrote
    handwriting handwritten typed typeface typography typographic font fonts sign signs signage signpost signposts
    signboard signboards sticker stickers label labels labeled labeled labeling labelling logo logos logotype brand
    brands branded branding trademark copyright watermark watermarks watermarked captioned headline headlines title
    titles titled subtitle subtitles read reads reading say says saying said spell spells spelled spelling inscribed
    inscription inscriptions engraved engraving printed print prints slogan slogans motto quote quotes quotation message
    messages name names named nameplate number numbers numbered numeral numerals numeric digit digits digital alphabet
    alphabets alphabetical character characters symbol symbols emblem hieroglyphs calligraphy kanji graffiti tattoo
    tattoos tattooed poster posters billboard billboards banner banners placard placards flyer leaflet brochure plaque
    newspaper newspapers magazine magazines book books page pages document documents menu menus ticket tickets receipt
    receipts invoice passport license licence plate plates barcode barcodes qr code codes script scripts manuscript
    manuscripts screenshot screenshots website webpage interface keyboard keyboards scoreboard jersey jerseys clock
    clocks watch watches wristwatch dial dials calendar calendars date dates equation equations formula formulas chart
    charts diagram diagrams infographic infographics graph graphs comic comics meme memes flag flags coin coins banknote
    banknotes stamp stamps atlas globe chalkboard blackboard whiteboard
    buchstabe buchstaben schrift schild wort lettre lettres mot mots texte panneau letra letras palabra palabras texto
    letrero testo parola parole scritta palavra palavras placa
"""

_WORDS = frozenset(SIDE_WORDS.split()) | frozenset(LETTER_WORDS.split())
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_QUOTED = re.compile(r"[\"“”„«»「」『』]|(?<!\w)['\u2018`]\S.*?['\u2019`](?!\w)")
_MARKUP = re.compile(r"</?img>|<\|[^|]*\|>")


@dataclass(frozen=True)
class Mirroring:
    """rate: probability that a sample that may be mirrored is."""

    rate: float = 0.0

    def decide(self, seed: int, index: int, key: str, mirrorable: bool, instruction: str) -> bool:
        """Returns whether the sample `key` is mirrored at `index` of the run: a function of the arguments alone."""
        if unit_interval("mirror", seed, index, key) >= self.rate:
            return False
        return may_be_mirrored(mirrorable, instruction)


def may_be_mirrored(mirrorable: bool, instruction: str) -> bool:
    """Returns whether a sample means the same with all its images mirrored.

    mirrorable: whether its recipe says so (x2i.sample.Sample). True only if the instruction names no side and no
    letters either (`telling_word`).
    """
    return mirrorable and telling_word(instruction) is None


def telling_word(instruction: str) -> str | None:
    """Returns the first sign in `instruction` that the pictures may hold sides or letters; None if there is none.

    Signs are the words of SIDE_WORDS and LETTER_WORDS, matched whole in any case ("Right," but not "bright"), also as
    parts of hyphenated ones ("left-handed"); anything in quotation marks, which is how captions report writing; a word
    in capitals of three letters or more ("STOP"); a letter of another script than Latin, for which there is no list.
    """
    text = unicodedata.normalize("NFKC", _MARKUP.sub(" ", instruction))
    quoted = _QUOTED.search(text)
    if quoted:
        return quoted.group()
    for word in _WORD.findall(text):
        plain = word.lower().removesuffix("'s")
        if plain in _WORDS or (len(word) >= 3 and word.isupper()) or not _is_latin(word):
            return word
    return None


def _is_latin(word: str) -> bool:
    return all(letter == "'" or "LATIN" in unicodedata.name(letter, "") for letter in word)
