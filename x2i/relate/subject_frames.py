"""Subject frames: the relation of a frame's objects as a later frame of the same clip shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import settings
from x2i.image.rle import decode_mask, encode_mask
from x2i.models.abilities import ImageEmbedder, RgbImage, Tracked, Tracker
from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation, count_used
from x2i.relate.frames import Frame
from x2i.relate.subject_entities import SubjectEntities, images_with_entities
from x2i.relate.subject_rows import SubjectInput, SubjectRow, subject_spec

if TYPE_CHECKING:
    from x2i.store import Dataset
    from x2i.store.commits import Counts


LEAST_SIDE = 24


@dataclass(frozen=True)
class SubjectFrames(Relation):
    """A base frame is the target; the inputs show its objects in the last frame in which all of them remain."""

    entities: Annotated[str, Option("Column of found entities with masks.")] = "entities"
    captions: Annotated[str, Option("Column of the captions, if there is one.")] = "captions"
    most: Annotated[int, Option("Objects of one frame at most.", ge=1, le=3)] = 3
    span: Annotated[int, Option("Frames that an object is followed through at most.", ge=1)] = 10
    every: Annotated[int, Option("Every which frame of a clip is a base frame.", ge=1)] = 5
    tracker: Annotated[
        str, Option("What follows the objects: classic:flow, or hf:MODEL such as hf:facebook/sam2.1-hiera-tiny.")
    ] = "classic:flow"
    tracker_set: Annotated[
        Mapping[str, Any],
        Option("An option of the tracker, as key=value; may be repeated.", metavar="KEY=VALUE", parse=settings),
    ] = field(default_factory=dict)
    embedder: Annotated[str, Option("What says how alike an object looks in both frames.")] = "classic:hog-color"
    similarity: Annotated[
        tuple[float, float], Option("Cosine of an object in both: more is a copy, less is lost.", ge=-1, le=1)
    ] = (0.4, 0.97)

    spec = subject_spec("subject_frames", "with objects that a later frame shows", "subject-frames")

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        """Counts the images in a row, and those without."""
        return count_used(self.spec, images, table, Reason.NO_PAIR)

    def find(
        self,
        clip: Sequence[Frame],
        entities: Mapping[str, Sequence[Mapping[str, Any]]],
        captions: Mapping[str, str],
        read_image: Callable[[Frame], RgbImage],
        embedder: ImageEmbedder,
        tracker: Tracker,
    ) -> Iterator[SubjectRow]:
        """Yields the rows of a clip, at most one for each base frame.

        entities: key -> the rows of that column about it. captions: key -> caption. read_image: the pixels of a frame.
        """
        chooser = SubjectEntities(most=self.most)
        for start in range(0, len(clip) - 1, self.every):
            base = clip[start]
            image = next(images_with_entities([base.row], entities.get(base.key, ()), captions))
            chosen = chooser.chosen(image)
            if chosen:
                row = self._row(clip[start : start + self.span + 1], chosen, read_image, embedder, tracker)
                if row is not None:
                    yield row

    def _row(
        self,
        frames: Sequence[Frame],
        chosen: Sequence[tuple[Mapping[str, Any], str]],
        read_image: Callable[[Frame], RgbImage],
        embedder: ImageEmbedder,
        tracker: Tracker,
    ) -> SubjectRow | None:
        base = read_image(frames[0])
        masks = [_mask(entity, base) for entity, _ in chosen]
        last = _last(frames, masks, read_image, tracker)
        if last is None:
            return None
        number, followed = last
        pixels = read_image(frames[number])
        before = [_crop(base, mask_HW) for mask_HW in masks]
        after = [_crop(pixels, found.mask_HW) for found in followed]
        if any(min(crop.shape[:2]) < LEAST_SIDE for crop in (*before, *after)):
            return None
        cosines = [float(one @ other) for one, other in zip(embedder.embed(before), embedder.embed(after))]
        if not all(self.similarity[0] <= cosine <= self.similarity[1] for cosine in cosines):
            return None
        size = pixels.shape[:2]
        inputs = tuple(
            SubjectInput(frames[number].key, found.box, encode_mask(found.mask_HW), size, words, entity["entity"])
            for found, (entity, words) in zip(followed, chosen)
        )
        evidence = {
            "seconds": round(frames[number].seconds - frames[0].seconds, 3),
            "frames": number,
            "tracker": self.tracker,
            "tracker_scores": [round(found.score, 4) for found in followed],
        }
        return SubjectRow(frames[0].key, inputs, "video", {"similarity": round(min(cosines), 5)}, evidence)


def _last(
    frames: Sequence[Frame],
    masks: Sequence[NDArray[np.bool_]],
    read_image: Callable[[Frame], RgbImage],
    tracker: Tracker,
) -> tuple[int, list[Tracked]] | None:
    """Returns the number of the last frame in which all objects remain, and where each is there; None if none.

    masks: of the objects in the first frame. No frame is read after one in which an object is lost.
    """
    last = None
    for number, found in enumerate(tracker.track(_of_one_size(frames, read_image), masks), start=1):
        tracked = [one for one in found if one is not None]
        if len(tracked) < len(masks):
            break
        last = number, tracked
    return last


def _of_one_size(frames: Sequence[Frame], read_image: Callable[[Frame], RgbImage]) -> Iterator[RgbImage]:
    """Yields the frames up to the first of another size."""
    shape = None
    for frame in frames:
        pixels = read_image(frame)
        shape = shape or pixels.shape
        if pixels.shape != shape:
            return
        yield pixels


def _mask(entity: Mapping[str, Any], image: RgbImage) -> NDArray[np.bool_]:
    mask_HW = decode_mask(entity["mask_counts"], *entity["mask_size"])
    assert mask_HW.shape == image.shape[:2], f"a mask of {mask_HW.shape} for a frame of {image.shape[:2]}"
    return mask_HW


def _crop(image: RgbImage, mask_HW: NDArray[np.bool_]) -> RgbImage:
    rows, columns = np.nonzero(mask_HW)
    return np.ascontiguousarray(image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
