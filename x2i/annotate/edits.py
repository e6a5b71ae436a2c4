"""edits: every image changed by an editing model, as an instruction says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.errors import UserError
from x2i.image import encode
from x2i.models.abilities import ImageEditor
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.seeding import stable_hash
from x2i.tables import IMAGE_TYPE


@dataclass(frozen=True)
class Edits(ModelAnnotation):
    """Change every image with an editing model.

    The instruction comes from a column that a writer made (`x2i caption --model openai:... --set prompt=edit --column
    edit_instructions`), or is one of a list, chosen by the hash of the image's key. onnx:style brings its own list.
    edited: the changed image as the model made it, RGB JPEG of quality 95.
    """

    name: ClassVar[str] = "edits"
    title: ClassVar[str] = "Images changed by an editing model"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("instruction", pa.string()), pa.field("edited", IMAGE_TYPE))
    kept: ClassVar[str] = "instruction IS NOT NULL"
    encodings: ClassVar[Mapping[str, str]] = {"edited": "RGB JPEG of the changed image"}
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.IMAGE_EDITOR}

    model: Annotated[str, Option("The editor: onnx:style, diffusers:MODEL or openai:URL#MODEL.")] = "onnx:style"
    instructions: Annotated[tuple[str, ...], Option("What to do, one for each image; may be repeated.")] = ()
    instructions_from: Annotated[
        str, Option("The column of captions that holds an instruction for each image.", metavar="COLUMN")
    ] = ""
    seed: Annotated[int, Option("Changes what is drawn at random.", ge=0)] = 0

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.instructions_from,) if self.instructions_from else ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The instructions to choose from where no column has them."""
        return self.instructions or tuple(getattr(self.backends()["model"], "instructions", ()))

    def config(self) -> dict[str, Any]:
        if not self.instructions_from and not self.choices:
            raise UserError(f"{self.model} is told what to do in words: give --instructions TEXT, or a column of them")
        return super().config()

    def load(self) -> Annotator:
        return EditMaker(self.backends()["model"].load(), self)


class EditMaker:
    def __init__(self, editor: ImageEditor, options: Edits) -> None:
        self._editor, self._options = editor, options
        self._choices = options.choices

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        told = [self._instruction(image) for image in images]
        places = [place for place, text in enumerate(told) if text]
        edited = self._editor.edit(
            [images[place].pixels for place in places],
            [told[place] for place in places],
            [stable_hash("edits", self._options.seed, images[place].key, told[place]) for place in places],
        )
        verdicts: list[Verdict] = [Dropped(Reason.NO_CAPTION, "no instruction") for _ in images]
        for place, made in zip(places, edited, strict=True):
            if isinstance(made, Dropped):
                verdicts[place] = made
                continue
            image = {"bytes": encode(made, "jpeg", 95), "path": f"{images[place].key}.jpg"}
            verdicts[place] = {"instruction": told[place], "edited": image}
        return verdicts

    def _instruction(self, image: StoredImage) -> str:
        if self._options.instructions_from:
            return (image.one(self._options.instructions_from, "caption") or "").strip()
        return self._choices[stable_hash("edits", self._options.seed, image.key) % len(self._choices)]
