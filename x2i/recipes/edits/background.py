"""The background of an object replaced: by that of another photograph, or by a plain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Example, Rendered, RgbImage, Source, Table
from x2i.recipes.edits.base import Edited, ObjectEdit, found_by, phrase_of, soft
from x2i.recipes.edits.colors import COLORS
from x2i.recipes.masks import Mask
from x2i.recipes.phrasings.wording import caption_slots
from x2i.recipes.restoration.base import one_of


@dataclass(frozen=True)
class BackgroundEdit(ObjectEdit):
    """An edit of all that is not the object."""

    changed: Annotated[
        tuple[float, float],
        Option("Share of the pixels that the edit changes visibly; others are dropped.", ge=0, le=1),
    ] = (0.1, 1.0)

    coverage: Annotated[
        tuple[float, float], Option("Share of the picture that the object covers; others are dropped.", ge=0, le=1)
    ] = (0.05, 0.8)


@dataclass(frozen=True)
class PlainBackground(BackgroundEdit):
    """The object before a plain studio background with a soft shadow; the photograph is the input."""

    name = "plain_background"
    title = "Photograph to an object before a plain background"
    operation = "replacing the background by a plain one"
    requests = (
        "put {phrase} before a plain {color} background",
        "replace the background of {phrase} by plain {color}",
        "change the background to {color} and keep {phrase}",
        "show {phrase} in a studio with a {color} backdrop",
        "cut {phrase} out and use a plain {color} background",
        "make everything behind {phrase} {color}",
    )

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited | Dropped:
        color, phrase = one_of(tuple(COLORS), random), phrase_of(metadata)
        after = over(backdrop(mask, color), image, mask)
        return Edited(
            image,
            after,
            around(mask),
            around(mask),
            self.said(random, phrase=phrase, color=color),
            {"phrase": phrase, "color": color},
            {**found_by(metadata), "color": color},
        )


@dataclass(frozen=True)
class ReplaceBackground(BackgroundEdit):
    """The object before the background of another photograph in, its own photograph, described by its caption, out."""

    name = "replace_background"
    title = "Object before another background to its own photograph"
    operation = "replacing the background"
    requests = (
        "change the background so that the picture shows: {caption}",
        "replace the background around {phrase}; the result: {caption}",
        "put {phrase} into this scene: {caption}",
    )

    captions: Annotated[str, Option("Column of the captions.")] = "captions"

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities), Table(self.captions))

    def requires(self) -> Mapping[str, str]:
        return {**super().requires(), "has_caption": "trim(coalesce(candidate.caption, '')) <> ''"}

    def query(self, tables: frozenset[str]) -> str:
        """Each object gets the next image in the order of a hash as its background, the last one the first."""
        return f"""
            SELECT [objects.keys[1], ring.next] AS keys, objects.* EXCLUDE (keys), words.caption
            FROM ({super().query(tables)}) AS objects
            JOIN (SELECT key, coalesce(lead(key) OVER (ORDER BY md5('background' || key)),
                                       first_value(key) OVER (ORDER BY md5('background' || key))) AS next
                  FROM images) AS ring ON ring.key = objects.keys[1] AND ring.next <> ring.key
            LEFT JOIN "{self.captions}" AS words ON words.key = objects.keys[1]
        """

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        return self.pair(sources[0], {**metadata, "background": sources[1].pixels}, random)

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited | Dropped:
        phrase, words = phrase_of(metadata), caption_slots(metadata["caption"])
        before = over(fitted(metadata["background"], mask.shape), image, mask)
        request = self.said(random, phrase=phrase, caption=str(words["caption"]).removesuffix("."))
        slots = {"phrase": phrase, "caption": words["caption"]}
        return Edited(before, image, around(mask), around(mask), request, slots, found_by(metadata))

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        found = super().example(photographs)
        caption = {"caption": "A thing on a table in a kitchen."}
        return Example((*found.sources, Source(photographs[1])), {**found.metadata, **caption})


def over(background: RgbImage, image: RgbImage, mask: Mask) -> RgbImage:
    """Returns the thing in mask_HW laid over another background_HWC."""
    mixed = background + soft(mask) * (image.astype(np.float32) - background)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def around(mask: Mask) -> Mask:
    """Returns the background of the thing in mask_HW, with the edge at which both are mixed."""
    return soft(mask)[..., 0] < 0.998


def backdrop(mask: Mask, color: str) -> RgbImage:
    """Returns a plain background_HWC of a named color, lighter in the middle, with a soft shadow below the thing."""
    import cv2

    height, width = mask.shape
    ys, xs = np.indices(mask.shape, np.float32)
    middle = np.hypot((xs / width - 0.5) * 1.2, ys / height - 0.45)
    light = 1.08 - 0.35 * middle**1.5
    below = np.roll(mask, round(0.02 * height), 0).astype(np.float32)
    below[: round(0.02 * height)] = 0
    shadow = cv2.GaussianBlur(below, (0, 0), 0.03 * min(mask.shape))
    shade = light * (1 - 0.35 * shadow)
    return np.clip(np.rint(shade[..., None] * np.array(COLORS[color], np.float32)), 0, 255).astype(np.uint8)


def fitted(image: RgbImage, shape: tuple[int, ...]) -> RgbImage:
    """Returns the middle of a photograph_HWC that fills a picture of `shape` (height, width)."""
    import cv2

    scale = max(shape[0] / image.shape[0], shape[1] / image.shape[1])
    size = max(shape[1], round(image.shape[1] * scale)), max(shape[0], round(image.shape[0] * scale))
    large = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (large.shape[0] - shape[0]) // 2, (large.shape[1] - shape[1]) // 2
    return np.ascontiguousarray(large[top : top + shape[0], left : left + shape[1]])
