"""Removal with the photograph as the output: what is removed was pasted in from another photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Example, Rendered, RgbImage, Source
from x2i.recipes.edits.base import Edited, ObjectEdit, found_by, phrase_of, soft
from x2i.recipes.edits.objects import REMOVALS
from x2i.recipes.masks import Mask
from x2i.recipes.restoration.base import Range, draw


@dataclass(frozen=True)
class RemovePastedObject(ObjectEdit):
    """A photograph with an object of another one in, the photograph out.

    The object is brought to a height of 25 to 60 per cent of the shorter side and its mean light halfway to that of
    the place where it lands.
    """

    name = "remove_pasted_object"
    title = "Photograph with a foreign object to the photograph"
    version = 2
    operation = "removing a foreign object"
    requests = REMOVALS
    phrasings = "remove_object"

    height: Annotated[Range, Option("Height of the object as a share of the shorter side.", gt=0, le=1)] = (0.25, 0.6)

    def query(self, tables: frozenset[str]) -> str:
        """Each object goes to the image before its own in the order of a hash, that of the first to the last."""
        return f"""
            SELECT [ring.host, objects.keys[1]] AS keys, objects.* EXCLUDE (keys)
            FROM ({super().query(tables)}) AS objects
            JOIN (SELECT key, coalesce(lag(key) OVER (ORDER BY md5('pasted' || key)),
                                       first_value(key) OVER (ORDER BY md5('pasted' || key) DESC)) AS host
                  FROM images) AS ring ON ring.key = objects.keys[1] AND ring.host <> ring.key
        """

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        return self.pair(sources[1], {**metadata, "host": sources[0].pixels}, random)

    def edit_object(
        self, image: RgbImage, mask: Mask, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Edited:
        host = metadata["host"]
        share, place = draw(self.height, random), random.uniform(size=2)
        before, there = pasted_from(image, mask, host, share, place)
        phrase, parameters = phrase_of(metadata, there), {**found_by(metadata), "height": share}
        nowhere = np.zeros_like(there)
        return Edited(before, host, there, nowhere, self.said(random, phrase=phrase), {"phrase": phrase}, parameters)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        found = super().example(photographs[::-1])
        return Example((Source(photographs[0]), *found.sources), found.metadata)


def pasted_from(image: RgbImage, mask: Mask, host: RgbImage, share: float, place: np.ndarray) -> tuple[RgbImage, Mask]:
    """Returns `host` with the thing in mask_HW of another image, and where it is there.

    share: its height of the host's shorter side. place: x and y, 0 to 1, between the borders.
    """
    import cv2

    height, width = host.shape[:2]
    ys, xs = np.nonzero(mask)
    tall, wide = ys.max() + 1 - ys.min(), xs.max() + 1 - xs.min()
    scale = min(share * min(height, width) / tall, 0.9 * width / wide)
    x = place[0] * (width - scale * wide) - scale * xs.min()
    y = place[1] * (height - scale * tall) - scale * ys.min()
    matrix = np.array([[scale, 0, x], [0, scale, y]], np.float64)
    if scale < 1:  # the map alone would skip pixels
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    weights = cv2.warpAffine(soft(mask)[..., 0], matrix, (width, height), flags=cv2.INTER_LINEAR)[..., None]
    there = cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_LINEAR) > 0
    if there.any():
        lift = (host[there].mean(0) - moved[there].mean(0)).mean() / 2
        moved = np.clip(moved.astype(np.float32) + np.clip(lift, -25, 25), 0, 255)
    mixed = host + weights * (moved.astype(np.float32) - host)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), there
