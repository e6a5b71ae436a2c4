"""Photographs of the same thing or the same people: one in and another out, two people in and a group photo out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Example, RgbImage, Source
from x2i.recipes.cutouts import around
from x2i.recipes.subjects.base import Subjects

OF_FACE = 3.0
"""How much larger than the face its surroundings are, along each side."""


@dataclass(frozen=True)
class SubjectPair(Subjects):
    """Every mined pair gives two samples, one per direction: each asks for the picture that its own caption describes.

    Both are wanted: from the whole to the detail and back are different tasks. The words come from the target's
    caption alone, if it has one; the subject itself is only pointed at ("the subject in IMG"), since nothing here
    knows its name. A pair that looks the same would teach copying; it is left out.
    """

    name = "subject_pair"
    title = "Photograph of a subject to another photograph of it"
    version = 2
    mirrorable = True
    kinds: ClassVar[tuple[str, ...]] = ("geometry",)

    relation: Annotated[str, Option("Relation of the pairs.")] = "subject_pairs"
    min_distance: Annotated[
        int, Option("Bits of the 64-bit perceptual hash in which the two differ at least.", ge=0, le=64)
    ] = 9

    def requires(self) -> Mapping[str, str]:
        return {"not_near_duplicates": f"candidate.phash_distance >= {self.min_distance}"}

    def words(self, metadata: Mapping[str, Any]) -> dict[str, str | None]:
        return {
            name: text for name, text in super().words(metadata).items() if name in ("caption", "sentence", "scene")
        }

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        scores = {"inliers": 40, "inlier_ratio": 0.5, "phash_distance": 20, "similarity": 0.6}
        sources = (Source(photographs[1]), Source(photographs[0]))
        metadata = {"caption": "A thing in another place.", "phrases": [""], "kind": "geometry", **scores}
        return Example(sources, metadata)


@dataclass(frozen=True)
class ObjectPair(SubjectPair):
    """Objects that an embedder finds alike, and people whose faces are: the input shows their surroundings alone."""

    name = "object_pair"
    title = "One object or person of a photograph to another photograph"
    version = 1
    kinds: ClassVar[tuple[str, ...]] = ("crop", "person")

    min_distance: Annotated[
        int, Option("Bits of the 64-bit perceptual hash in which the two differ at least, where known.", ge=0, le=64)
    ] = 0

    def requires(self) -> Mapping[str, str]:
        return {"not_near_duplicates": f"coalesce(candidate.phash_distance, 64) >= {self.min_distance}"}

    def words(self, metadata: Mapping[str, Any]) -> dict[str, str | None]:
        slots = super(SubjectPair, self).words(metadata)
        return {name: text for name, text in slots.items() if name != "bound"}

    def shown(
        self, source: Source, number: int, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> tuple[RgbImage, Mapping[str, Any]] | Dropped:
        margin = OF_FACE if metadata["kind"] == "person" else 1.15
        return around(source.pixels, metadata["boxes"][number], metadata["sizes"][number], margin)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        height, width = photographs[1].shape[:2]
        row = {
            "boxes": [[width // 4, height // 4, 3 * width // 4, 3 * height // 4]] * self.num_inputs,
            "sizes": [[height, width]] * self.num_inputs,
            "phrases": ["red thing", "person"][: self.num_inputs],
            "kind": "crop",
            "similarity": 0.8,
        }
        sources = (*([Source(photographs[1])] * self.num_inputs), Source(photographs[0]))
        return Example(sources, {"caption": "A red thing and a person in another place.", **row})


@dataclass(frozen=True)
class PeopleToGroup(ObjectPair):
    """Two people, each from a photograph of their own, into a photograph that shows both."""

    name = "people_to_group"
    title = "Photographs of two people to a photograph of both"
    image_slots = ("image_1", "image_2")
    kinds: ClassVar[tuple[str, ...]] = ("person",)


@dataclass(frozen=True)
class FrameSubjectToImage(ObjectPair):
    """An object as a later frame of the clip shows it, into the frame that its caption describes."""

    name = "frame_subject_to_image"
    title = "An object in a later frame of a video to an earlier frame"
    kinds: ClassVar[tuple[str, ...]] = ()

    relation: Annotated[str, Option("Relation of the frames.")] = "subject_frames"


@dataclass(frozen=True)
class TwoFrameSubjectsToImage(FrameSubjectToImage):
    """Two objects as a later frame shows them, each in a picture of its own."""

    name = "two_frame_subjects_to_image"
    title = "Two objects in a later frame of a video to an earlier frame"
    image_slots = ("image_1", "image_2")
    phrasings = "two_entities_to_image"

    def words(self, metadata: Mapping[str, Any]) -> dict[str, str | None]:
        return super(SubjectPair, self).words(metadata)
