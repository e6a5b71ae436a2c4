"""From one row of a materialization plan to one encoded training sample."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.image import ResizeMode, decode, encode, resize
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.recipes.base import Picture, Recipe, Rendered, RgbImage
from x2i.sample import Lineage, RecipeStamp, Sample
from x2i.seeding import generator
from x2i.store import paths
from x2i.store.files.tar import read_range
from x2i.store.shards import EncodedImage

MIN_SIDE = 32
DECODED_IMAGES_KEPT = 16


@dataclass(frozen=True)
class MadeSample:
    """A sample and its images, encoded: inputs in placeholder order, then the output."""

    sample: Sample
    inputs: tuple[EncodedImage, ...]
    output: EncodedImage


class SampleMaker:
    """Renders samples of one recipe from the image store at `root`.

    max_side: images are made to fit a square of so many pixels. quality: of JPEG images, 1 to 100.
    The last DECODED_IMAGES_KEPT source images stay decoded, since neighbors in a plan share them.
    """

    def __init__(self, root: Path, recipe: Recipe, max_side: int, quality: int) -> None:
        self._root = root
        self._recipe = recipe
        self._max_side = max_side
        self._quality = quality
        self._decoded: OrderedDict[str, RgbImage] = OrderedDict()

    def make(self, row: Mapping[str, Any]) -> MadeSample | Dropped:
        """Makes the sample of a plan row (x2i.recipes.plan.PLAN_SCHEMA), or says why it cannot be made."""
        recipe = self._recipe
        try:
            images = [self._image(*place) for place in zip(row["images"], row["offsets"], row["sizes"])]
        except DroppedError as error:
            return error.verdict
        smallest = min(min(image.shape[:2]) for image in images)
        if smallest < MIN_SIDE:
            return Dropped(Reason.TOO_SMALL, f"a side of {smallest} pixels")
        random = generator(row["key"], recipe.name, recipe.version)
        rendered = recipe.render(row["key"], images, json.loads(row["facts"]), random)
        return rendered if isinstance(rendered, Dropped) else self._encoded(row, rendered)

    def _encoded(self, row: Mapping[str, Any], rendered: Rendered) -> MadeSample:
        pictures = (*rendered.inputs, rendered.output)
        sample = Sample(
            key=row["key"],
            task=self._recipe.task,
            instruction=rendered.instruction,
            sizes=tuple((picture.pixels.shape[1], picture.pixels.shape[0]) for picture in pictures),
            source=Lineage(tuple(row["uids"]), tuple(row["urls"]), tuple(row["licenses"])),
            recipe=RecipeStamp(self._recipe.name, self._recipe.version, rendered.parameters),
            scores=rendered.scores,
        )
        encoded = [self._encode(picture) for picture in pictures]
        return MadeSample(sample, tuple(encoded[:-1]), encoded[-1])

    def _encode(self, picture: Picture) -> EncodedImage:
        image_format = "png" if picture.lossless else "jpeg"
        return EncodedImage(encode(picture.pixels, image_format, self._quality), image_format)

    def _image(self, key: str, offset: int, size: int) -> RgbImage:
        if key in self._decoded:
            self._decoded.move_to_end(key)
            return self._decoded[key]
        data = read_range(paths.image_tar(self._root, key.split("-")[0]), offset, size)
        # twice the side: the last halving is left to area averaging, softer than the decoder's cut in frequency
        image = resize(decode(data, target_side=2 * self._max_side), ResizeMode.LONGEST, self._max_side)
        image.setflags(write=False)
        self._decoded[key] = image
        if len(self._decoded) > DECODED_IMAGES_KEPT:
            self._decoded.popitem(last=False)
        return image
