"""The groups family: imported groups of images that play roles, such as a person, a garment and the dressed person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.errors import UserError
from x2i.options import Option
from x2i.recipes.base import Example, Recipe, Rendered, RgbImage, Source
from x2i.recipes.phrasings.wording import caption_slots

QUOTE = "'"


@dataclass(frozen=True)
class Group(Recipe):
    """A sample for each imported group that has an image in every role.

    An importer writes `group` and `role` into the field `extra` of its images; `x2i import hf-images` does so for rows
    of a metadata file that name several images (`person_file_name`, `garment_file_name`).
    """

    family = "groups"

    roles: Annotated[tuple[str, ...], Option("The role of each input, in order, then of the output.")] = ()

    def query(self, tables: frozenset[str]) -> str:
        if len(self.roles) != self.num_inputs + 1:
            raise UserError(f"recipe {self.name}: roles: expected {self.num_inputs + 1}, found {list(self.roles)}")
        members = [
            f"(SELECT key, text, json_extract_string(extra, 'group') AS name FROM images "
            f"WHERE json_extract_string(extra, 'role') = '{role.replace(QUOTE, 2 * QUOTE)}') AS member_{number}"
            for number, role in enumerate(self.roles)
        ]
        keys = ", ".join(f"member_{number}.key" for number in range(len(members)))
        joined = " JOIN ".join([members[0], *(f"{member} USING (name)" for member in members[1:])])
        return f"SELECT [{keys}] AS keys, member_{len(members) - 1}.text AS text FROM {joined}"

    def make(self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered:
        *inputs, output = (source.pixels for source in sources)
        return Rendered(tuple(inputs), output, self.words(metadata), {"roles": list(self.roles)})

    def words(self, metadata: Mapping[str, Any]) -> Mapping[str, str | None]:
        """Returns the slots of the phrasings."""
        return {}

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        shown = [Source(photographs[number % 2]) for number in range(self.num_inputs, -1, -1)]
        return Example(tuple(shown), {"text": "opening a box"})


@dataclass(frozen=True)
class TryOn(Group):
    """A person and a garment in, the person in this garment out, as VITON-HD and FashionTryOn pair them.

    Where the person already wears the garment, take the image in which the clothes are masked as the person.
    """

    name = "try_on"
    title = "Photographs of a person and a garment to the dressed person"
    image_slots = ("person", "garment")
    mirrorable = True

    roles: Annotated[tuple[str, ...], Option("The role of the person, of the garment and of the output.")] = (
        "person",
        "garment",
        "output",
    )


@dataclass(frozen=True)
class StyleTransfer(Group):
    """A picture and a picture in some style in, the first in the style of the second out."""

    name = "style_transfer"
    title = "A picture and one in some style to the first in that style"
    image_slots = ("content", "style")
    mirrorable = True

    roles: Annotated[tuple[str, ...], Option("The role of the content, of the style and of the output.")] = (
        "content",
        "style",
        "output",
    )


@dataclass(frozen=True)
class Motion(Group):
    """A frame and what happens in it in, a later frame out, as Something-Something v2 gives them.

    The text of the output names what happens: "opening a box".
    """

    name = "motion"
    title = "Frame and an action in words to the frame after it"

    roles: Annotated[tuple[str, ...], Option("The role of the first frame and of the later one.")] = (
        "before",
        "after",
    )

    def requires(self) -> Mapping[str, str]:
        return {"action_is_known": "trim(coalesce(candidate.text, '')) <> ''"}

    def words(self, metadata: Mapping[str, Any]) -> Mapping[str, str | None]:
        text = str(caption_slots(metadata["text"])["caption"]).rstrip(".")
        return {"action": text[:1].lower() + text[1:] if text[1:2].islower() else text}
