"""captions: what every image shows, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.models.abilities import Caption, Captioner, PageText
from x2i.models.prompts import Question
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class Captions(ModelAnnotation):
    """Give every image a caption.

    With alt-text, words that were written for an image (beside it, in a table, in a shard) are its caption, verbatim.
    Of an image from a web page it is the alt text, figcaption or title, cleaned; file names and boilerplate do not
    count (--set clean=all cleans the other words too). An image without usable words keeps a row without a caption,
    and counts as no_caption.

    source: where the words come from. prompt, finish: what a model was asked, in words, and why it stopped, such as
    "stop". prompt_tokens, answer_tokens: what it read and wrote.
    """

    name: ClassVar[str] = "captions"
    title: ClassVar[str] = "A caption of every image"
    made_by: ClassVar[str] = "caption"
    version: ClassVar[int] = 2
    fields: ClassVar[tuple[pa.Field, ...]] = (
        *(pa.field(name, pa.string()) for name in ("caption", "source", "prompt", "finish")),
        *(pa.field(name, pa.int32()) for name in ("prompt_tokens", "answer_tokens")),
    )
    kept: ClassVar[str] = "caption IS NOT NULL"
    image_fields: ClassVar[tuple[str, ...]] = ("url", "text", "text_source", "extra")
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.CAPTIONER}

    model: Annotated[str, Option("The captioner. alt-text: the words that came with the image.")] = "alt-text"

    @property
    def pixels(self) -> bool:
        return bool(getattr(self.backends()["model"], "needs_pixels", True))

    def config(self) -> dict[str, Any]:
        found = self.backends()["model"]
        return super().config() | (found.question() if isinstance(found, Question) else {})

    def load(self) -> Annotator:
        found = self.backends()["model"]
        return CaptionWriter(found.load(), getattr(found, "words", ""))


class CaptionWriter:
    def __init__(self, captioner: Captioner, prompt: str) -> None:
        self._captioner, self._prompt = captioner, prompt

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        texts = [page_text(image.row) for image in images]
        captions = self._captioner.caption([image.pixels for image in images], texts)
        return [_verdict(caption, self._prompt) for caption in captions]


def _verdict(found: Caption | Dropped | None, prompt: str) -> Verdict:
    if not isinstance(found, Caption):
        return found or Dropped(Reason.NO_CAPTION)
    said = {name: value for name, value in vars(found).items() if name != "text"}
    return {"caption": found.text, "prompt": prompt, **said}


def page_text(row: Mapping[str, Any]) -> PageText:
    """Returns what the image index says about an image: `extra` is a JSON object that may hold title and figcaption."""
    extra = json.loads(row["extra"])
    title, figcaption = (str(extra.get(name) or "") for name in ("title", "figcaption"))
    file_name = row["url"].rpartition("/")[2]
    return PageText(row["text"], title, figcaption, row["text_source"], file_name)
