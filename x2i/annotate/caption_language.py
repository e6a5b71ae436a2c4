"""caption_language: the language of every caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.models.abilities import Language, LanguageDetector
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class CaptionLanguage(ModelAnnotation):
    """language: ISO 639 code of a caption's language, such as "en". probability: 0 to 1.

    Related languages are hard to tell apart in a few words: cut by probability, or by several languages.
    """

    name: ClassVar[str] = "caption_language"
    title: ClassVar[str] = "Language of the captions"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("language", pa.string()), pa.field("probability", pa.float32()))
    kept: ClassVar[str] = "language IS NOT NULL"
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.LANGUAGE_DETECTOR}

    model: Annotated[str, Option("What tells the language.")] = "py3langid"
    captions: Annotated[str, Option("The column of captions.")] = "captions"

    @property
    def pixels(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.captions,)

    def load(self) -> Annotator:
        return LanguageWriter(self.backends()["model"].load(), self.captions)


class LanguageWriter:
    def __init__(self, detector: LanguageDetector, column: str) -> None:
        self._detector, self._column = detector, column

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        captions = [image.one(self._column, "caption") for image in images]
        languages = iter(self._detector.languages([caption for caption in captions if caption]))
        return [_verdict(next(languages)) if caption else Dropped(Reason.NO_CAPTION) for caption in captions]


def _verdict(language: Language) -> Verdict:
    return {"language": language.code, "probability": language.probability}
