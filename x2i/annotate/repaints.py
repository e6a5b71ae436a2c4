"""repaints: the objects of every image drawn anew, for subjects that are no literal cut-outs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.image import encode
from x2i.image.rle import decode_mask
from x2i.models.abilities import ImageEditor, ImageEmbedder, RgbImage
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.relate.subject_entities import SubjectEntities
from x2i.seeding import stable_hash
from x2i.tables import IMAGE_TYPE

FILLED = 0.85
MOST_ENLARGED = 4.0
WHITE = 255
_ARTICLE_OR_PLACE = re.compile(
    r"^(an?|the)\s+|\s+(on the (left|right)|(in|at) the (center|top|bottom))\b.*", re.IGNORECASE
)


@dataclass(frozen=True)
class Repaints(ModelAnnotation):
    """Have the objects of every image drawn anew by an editing model: the same thing in another pose and light.

    An object is cut out, laid on white and handed to the model with one of the instructions, chosen by hash. They are
    the objects that `x2i subject-entities` takes with the same options; the recipes of entities show what was drawn.
    objects: their numbers in the column of entities. painted: what was drawn of each, squares of one size below one
    another, RGB JPEG of quality 95. told: the instruction of each. similarity: cosine of each with its cut-out.
    """

    name: ClassVar[str] = "repaints"
    title: ClassVar[str] = "Objects drawn anew in another pose and light"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("objects", pa.list_(pa.int32())),
        pa.field("painted", IMAGE_TYPE),
        pa.field("told", pa.list_(pa.string())),
        pa.field("similarity", pa.list_(pa.float32())),
    )
    kept: ClassVar[str] = "objects IS NOT NULL"
    encodings: ClassVar[Mapping[str, str]] = {"painted": "RGB JPEG, one square for each object, below one another"}
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.REPAINTER, "embedder": Ability.IMAGE_EMBEDDER}

    model: Annotated[str, Option("The editing model: diffusers:MODEL or openai:URL#MODEL.")] = (
        "diffusers:Qwen/Qwen-Image-Edit"
    )
    embedder: Annotated[str, Option("What says how alike an object and its repaint look.")] = "classic:hog-color"
    entities: Annotated[str, Option("Column of found entities with masks.")] = "entities"
    captions: Annotated[str, Option("Column of the captions; empty: none.")] = "captions"
    most: Annotated[int, Option("Objects of one image at most.", ge=1, le=3)] = 3
    share: Annotated[
        tuple[float, float], Option("Share of the picture that an object covers; others are left out.", ge=0, le=1)
    ] = (0.02, 0.6)
    least_score: Annotated[float, Option("Objects with a lower score of the detector are left out.", ge=0, le=1)] = 0.3
    instructions: Annotated[tuple[str, ...], Option("What to do; {object} is its name; may be repeated.")] = (
        "Show the same {object} from another side, in another pose and another light, alone on a plain background.",
        "Paint this very {object} again, turned a little, under warm light, in front of a plain wall.",
        "Draw the same {object} anew, seen from a little above in soft daylight, on an empty ground.",
        "The same {object} in a different position and a cooler light, with nothing else in the picture.",
    )
    similarity: Annotated[
        tuple[float, float], Option("Cosine of a repaint with its object: more is a copy, less another thing.", ge=-1)
    ] = (0.4, 0.97)
    side: Annotated[int, Option("Side of the squares in pixels.", ge=64)] = 512
    seed: Annotated[int, Option("Changes what is drawn at random.", ge=0)] = 0

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.entities, self.captions) if self.captions else (self.entities,)

    def load(self) -> Annotator:
        backends = self.backends()
        return Repainter(backends["model"].load(), backends["embedder"].load(), self)


@dataclass(frozen=True)
class _Cut:
    """One object on white. place: of its image in the batch. pixels: (side, side, 3)."""

    place: int
    entity: int
    pixels: RgbImage
    told: str
    seed: int


class Repainter:
    def __init__(self, editor: ImageEditor, embedder: ImageEmbedder, options: Repaints) -> None:
        self._editor, self._embedder, self._options = editor, embedder, options
        self._chooser = SubjectEntities(most=options.most, share=options.share, least_score=options.least_score)

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        verdicts: list[Verdict] = [Dropped(Reason.NO_ENTITY, "no object to repaint") for _ in images]
        cuts = [cut for place, image in enumerate(images) for cut in self._cuts(place, image)]
        if not cuts:
            return verdicts
        edited = self._editor.edit([cut.pixels for cut in cuts], [cut.told for cut in cuts], [cut.seed for cut in cuts])
        made: dict[int, list[tuple[_Cut, RgbImage, float]]] = {}
        for cut, painted in zip(cuts, edited, strict=True):
            if isinstance(painted, Dropped):
                verdicts[cut.place] = painted
                continue
            square = squared(painted, self._options.side)
            one, other = self._embedder.embed([cut.pixels, square])
            cosine = float(one @ other)
            if self._options.similarity[0] <= cosine <= self._options.similarity[1]:
                made.setdefault(cut.place, []).append((cut, square, cosine))
            else:
                verdicts[cut.place] = Dropped(Reason.UNSUITABLE_IMAGE, f"similarity {cosine:.2f} of a repaint")
        for place, found in made.items():
            data = encode(np.vstack([square for _, square, _ in found]), "jpeg", 95)
            verdicts[place] = {
                "objects": [cut.entity for cut, _, _ in found],
                "painted": {"bytes": data, "path": f"{images[place].key}.jpg"},
                "told": [cut.told for cut, _, _ in found],
                "similarity": [round(cosine, 5) for _, _, cosine in found],
            }
        return verdicts

    def _cuts(self, place: int, image: StoredImage) -> list[_Cut]:
        options, (height, width) = self._options, image.pixels.shape[:2]
        caption = image.one(options.captions, "caption") if options.captions else None
        facts = {"height": height, "width": width, "caption": caption, "entities": image.columns[options.entities]}
        cuts = []
        for row, words in self._chooser.chosen(facts):
            drawn = ("repaints", options.seed, image.key, row["entity"])
            told = options.instructions[stable_hash(*drawn) % len(options.instructions)]
            told = told.replace("{object}", _ARTICLE_OR_PLACE.sub("", words))
            mask_HW = decode_mask(row["mask_counts"], *row["mask_size"])
            shown = on_white(image.pixels, mask_HW, options.side)
            cuts.append(_Cut(place, row["entity"], shown, told, stable_hash(*drawn)))
        return cuts


def on_white(image: RgbImage, mask_HW: NDArray[np.bool_], side: int) -> RgbImage:
    """Returns the object under a mask in the middle of a white square, FILLED of it long, enlarged fourfold at most."""
    rows, columns = np.nonzero(mask_HW)
    part = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    alpha_HW1 = cv2.GaussianBlur(mask_HW[part].astype(np.float32), (0, 0), 0.7)[..., None]
    cut = np.rint(image[part] * alpha_HW1 + WHITE * (1 - alpha_HW1)).astype(np.uint8)
    scale = min(FILLED * side / max(cut.shape[:2]), MOST_ENLARGED)
    width, height = (max(1, round(length * scale)) for length in cut.shape[1::-1])
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.full((side, side, 3), WHITE, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(cut, (width, height), interpolation=smooth)
    return canvas


def squared(image: RgbImage, side: int) -> RgbImage:
    """Returns an image_HWC as a square of `side` pixels; its shorter sides grow by what is at their edges."""
    height, width = image.shape[:2]
    longest = max(height, width)
    down, across = longest - height, longest - width
    edges = (down // 2, down - down // 2, across // 2, across - across // 2)
    whole = cv2.copyMakeBorder(image, *edges, cv2.BORDER_REPLICATE)
    if longest == side:
        return np.asarray(whole, np.uint8)
    smooth = cv2.INTER_AREA if longest > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(whole, (side, side), interpolation=smooth), np.uint8)
