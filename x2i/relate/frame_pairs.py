"""Frame pairs: the relation of two frames of a clip between which something moved before a camera that stood still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa

from x2i.image.rle import decode_mask
from x2i.models.abilities import RgbImage
from x2i.models.classic.flow import Followed, follow
from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation, count_used
from x2i.relate.camera import changed_share, still_blocks
from x2i.relate.frames import Frame
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.store import Dataset
    from x2i.store.commits import Counts


MOVED = 0.08
"""Share of the picture's side that an object must move for it to be said."""
RESIZED = 1.2


@dataclass(frozen=True)
class FramePairs(Relation):
    """One row per pair; where an object could be followed, how it moved, from which a recipe makes words."""

    entities: Annotated[str, Option("Column of found entities with masks, if there is one.")] = "entities"
    span: Annotated[int, Option("How many frames later the second one is at most.", ge=1)] = 4
    still: Annotated[float, Option("Share of the blocks that stay: less is a moving camera.", ge=0, le=1)] = 0.5
    changed: Annotated[
        tuple[float, float], Option("Share of the pixels that change: less is nothing, more is a cut.", ge=0, le=1)
    ] = (0.01, 0.4)

    spec = TableSpec(
        name="frame_pairs",
        title="before or after a change that a camera watched",
        made_by="frame-pairs",
        schema=pa.schema(
            [
                ("before", pa.string()),
                ("after", pa.string()),
                ("seconds", pa.float32()),  # between the two
                ("still", pa.float32()),  # share of the blocks that stay
                ("changed", pa.float32()),  # share of the pixels that change
                ("phrase", pa.string()),  # of the object that moves most; null where none could be followed
                ("shift", pa.list_(pa.float32())),  # of it, along x and y, as shares of the picture's sides
                ("scale", pa.float32()),  # how much larger it gets
            ]
        ),
        kind="relation",
        rows="many",
        image_keys=("before", "after"),
    )

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        """Counts the images in a row, and those without."""
        return count_used(self.spec, images, table, Reason.NO_PAIR)

    def find(
        self,
        clip: Sequence[Frame],
        entities: Mapping[str, Sequence[Mapping[str, Any]]],
        read_image: Callable[[Frame], RgbImage],
    ) -> Iterator[dict[str, Any]]:
        """Yields the rows of a clip: each frame with the last one of the `span` after it that fits."""
        for start, before in enumerate(clip[:-1]):
            pixels = read_image(before)
            for after in reversed(clip[start + 1 : start + 1 + self.span]):
                later = read_image(after)
                if later.shape != pixels.shape:
                    continue
                still, changed = float(still_blocks(pixels, later).mean()), changed_share(pixels, later)
                if still >= self.still and self.changed[0] <= changed <= self.changed[1]:
                    said = _what_moved(pixels, later, entities.get(before.key, ()))
                    times = {"seconds": round(after.seconds - before.seconds, 3)}
                    shares = {"still": round(still, 4), "changed": round(changed, 4)}
                    yield {"before": before.key, "after": after.key, **times, **shares, **said}
                    break


def _what_moved(before: RgbImage, after: RgbImage, entities: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the fields about the object that moves most; nothing where none can be followed and named."""
    height, width = before.shape[:2]
    best: tuple[float, str, tuple[float, float], float] | None = None
    for entity in entities:
        phrase = entity["phrase"] or entity["label"]
        if not entity["mask_counts"] or not phrase:
            continue
        mask_HW = decode_mask(entity["mask_counts"], *entity["mask_size"])
        found = follow(before, after, mask_HW) if mask_HW.shape == (height, width) else None
        if found is not None:
            shift, scale = _motion(mask_HW, found)
            amount = max(abs(shift[0]) / MOVED, abs(shift[1]) / MOVED, abs(np.log(scale)) / np.log(RESIZED))
            if amount >= 1 and (best is None or amount > best[0]):
                best = amount, phrase, shift, scale
    if best is None:
        return {}
    _, phrase, shift, scale = best
    return {"phrase": phrase, "shift": list(shift), "scale": scale}


def _motion(mask_HW: np.ndarray, found: Followed) -> tuple[tuple[float, float], float]:
    height, width = mask_HW.shape
    centers = [np.argwhere(mask).mean(axis=0) for mask in (mask_HW, found.mask_HW)]
    down, right = (centers[1] - centers[0]) / [height, width]
    scale = float(np.sqrt(abs(np.linalg.det(found.matrix_23[:, :2]))))
    return (round(float(right), 4), round(float(down), 4)), round(scale, 4)
