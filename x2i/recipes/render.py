"""From one row of a materialization plan to one encoded training sample."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.image import ResizeMode, decode, encode, resize
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.recipes.base import ImageMap, Recipe, Rendered, RgbImage, Source
from x2i.recipes.maps import read_map
from x2i.sample import Lineage, RecipeStamp, Sample
from x2i.seeding import generator
from x2i.store import paths
from x2i.store.columns import read_column_rows
from x2i.store.files.tar import read_range
from x2i.store.shards import EncodedImage

MIN_SIDE = 32
DECODED_IMAGES_KEPT = 16
ROWS_AT_ONCE = 16
"""Samples whose rows of a column with images are read together."""

Encoded = dict[str, dict[str, Any]]
"""Image key -> its row of a column, images still encoded."""


@dataclass(frozen=True)
class EncodedSample:
    """A sample and its images, encoded: inputs in placeholder order, then the output."""

    sample: Sample
    inputs: tuple[EncodedImage, ...]
    output: EncodedImage


class SampleRenderer:
    """Renders samples of one recipe from the image store at `root`.

    max_side: images are made to fit a square of so many pixels. quality: of JPEG images, 1 to 100.
    The last DECODED_IMAGES_KEPT source images stay decoded, since neighbors in a plan share them.
    """

    def __init__(self, root: Path, recipe: Recipe, max_side: int, quality: int) -> None:
        self._root = root
        self._recipe = recipe
        self._max_side = max_side
        self._quality = quality
        columns = [table.name for table in recipe.reads() if table.images]
        self._map_columns = [name for name in columns if paths.column_folder(root, name).exists()]
        self._decoded: OrderedDict[str, RgbImage] = OrderedDict()

    def render(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[EncodedSample | Dropped]:
        """Yields the sample of each plan row (x2i.recipes.plan.PLAN_SCHEMA), or why it cannot be made."""
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            keys = sorted({key for row in part for key in row["images"]})
            maps = {column: _read_rows(self._root, column, keys) for column in self._map_columns}
            for row in part:
                try:
                    yield self._sample(row, maps)
                except DroppedError as error:
                    yield error.verdict

    def _sample(self, row: Mapping[str, Any], maps: Mapping[str, Encoded]) -> EncodedSample | Dropped:
        recipe = self._recipe
        places = zip(row["images"], row["data_offsets"], row["data_sizes"])
        sources = [Source(self._image(*place), _LazyMaps(place[0], maps)) for place in places]
        smallest = min(min(source.pixels.shape[:2]) for source in sources)
        if smallest < MIN_SIDE:
            return Dropped(Reason.TOO_SMALL, f"a side of {smallest} pixels")
        random = generator(row["key"], recipe.name, recipe.version)
        rendered = recipe.make(sources, json.loads(row["metadata"]), random)
        return rendered if isinstance(rendered, Dropped) else self._encoded(row, rendered)

    def _encoded(self, row: Mapping[str, Any], rendered: Rendered) -> EncodedSample:
        recipe = self._recipe
        named = {f"input_{number}": image for number, image in enumerate(rendered.inputs, start=1)}
        named["output"] = rendered.output
        sample = Sample(
            key=row["key"],
            task=recipe.name,
            instruction=recipe.instruction(row["key"], rendered),
            sizes=tuple((image.shape[1], image.shape[0]) for image in named.values()),
            source=Lineage(tuple(row["uids"]), tuple(row["urls"]), tuple(row["licenses"])),
            recipe=RecipeStamp(recipe.name, recipe.version, rendered.parameters),
            scores=rendered.scores,
            mirrorable=recipe.mirrorable and rendered.mirrorable,
        )
        *inputs, output = (self._encode(image, name in recipe.lossless) for name, image in named.items())
        return EncodedSample(sample, tuple(inputs), output)

    def _encode(self, image: RgbImage, lossless: bool) -> EncodedImage:
        image_format = "png" if lossless else "jpeg"
        return EncodedImage(encode(image, image_format, self._quality), image_format)

    def _image(self, key: str, offset: int, size: int) -> RgbImage:
        if key in self._decoded:
            self._decoded.move_to_end(key)
            return self._decoded[key]
        data = read_range(paths.image_tar(self._root, paths.image_partition(key)), offset, size)
        # twice the side: the last halving is left to area averaging, softer than the decoder's cut in frequency
        image = resize(decode(data, target_side=2 * self._max_side), ResizeMode.LONGEST, self._max_side)
        image.setflags(write=False)
        self._decoded[key] = image
        if len(self._decoded) > DECODED_IMAGES_KEPT:
            self._decoded.popitem(last=False)
        return image


class _LazyMaps(Mapping[str, ImageMap]):
    """The maps about one image, decoded when a recipe asks for them."""

    def __init__(self, key: str, columns: Mapping[str, Encoded]) -> None:
        self._key, self._columns = key, columns

    def __getitem__(self, column: str) -> ImageMap:
        return read_map(column, self._columns[column].get(self._key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _read_rows(root: Path, column: str, keys: Sequence[str]) -> Encoded:
    found: Encoded = {}
    for partition in sorted({paths.image_partition(key) for key in keys}):
        here = [key for key in keys if paths.image_partition(key) == partition]
        rows = read_column_rows(root, column, partition, here)
        found |= {key: first[0] for key, first in rows.items() if first}
    return found
