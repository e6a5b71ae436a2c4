"""Subject entities: the relation of photographs with their own objects, which are to be cut out and asked for again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa

from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation, count_used
from x2i.relate.subject_rows import SubjectRow, entity_input, subject_spec

if TYPE_CHECKING:
    from x2i.store import Dataset
    from x2i.store.commits import Counts


@dataclass(frozen=True)
class SubjectEntities(Relation):
    """One row per photograph with objects fit for it: the clearest of them, up to `most`, in the order of the caption.

    An object fits if it has a mask of a middling size and words: its label, which the caption holds where there is a
    caption; where it has no label, or there is no caption, its phrase, which no other object of the image has.
    """

    entities: Annotated[str, Option("Column of found entities with masks.")] = "entities"
    captions: Annotated[str, Option("Column of the captions, if there is one.")] = "captions"
    most: Annotated[int, Option("Objects of one photograph at most.", ge=1, le=3)] = 3
    share: Annotated[
        tuple[float, float], Option("Share of the picture that an object covers; others are left out.", ge=0, le=1)
    ] = (0.02, 0.6)
    least_score: Annotated[float, Option("Objects with a lower score of the detector are left out.", ge=0, le=1)] = 0.3
    overlap: Annotated[
        float, Option("Objects whose boxes overlap more with a clearer one's are left out (IoU).", ge=0, le=1)
    ] = 0.3

    spec = subject_spec("subject_entities", "with objects to cut out", "subject-entities")

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        """Counts the images in a row, and those without."""
        return count_used(self.spec, images, table, Reason.NO_ENTITY)

    def find(self, images: Iterable[Mapping[str, Any]]) -> Iterator[SubjectRow]:
        """Yields a row for each image that has one. images: key, height, width, caption (None: none) and entities: the
        rows of that column about it.
        """
        for image in images:
            chosen = self.chosen(image)
            if not chosen:
                continue
            size = (image["height"], image["width"])
            inputs = tuple(entity_input({**row, "key": image["key"]}, size, phrase) for row, phrase in chosen)
            scores = [row["score"] for row, _ in chosen if row["score"] is not None]
            evidence = {"in_caption": bool(image["caption"]), "detector_scores": [round(score, 5) for score in scores]}
            yield SubjectRow(image["key"], inputs, "entity", {}, evidence)

    def chosen(self, image: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
        """Returns (entity, words) of the objects that are used, in the order in which the caption names them."""
        labels = [(row["label"] or "").lower() for row in image["entities"]]
        fitting: list[tuple[int, Mapping[str, Any], str]] = []
        for row in sorted(image["entities"], key=lambda row: (-(row["score"] or 0), row["entity"])):
            if not row["mask_counts"] or not self._is_clear(row, image):
                continue
            words = row["label"] if labels.count((row["label"] or "").lower()) == 1 else None
            place = place_in(image["caption"] or "", words or "")
            if place < 0 and ((image["caption"] and row["label"]) or not row["phrase"]):
                continue
            if all(_overlap(row, other) <= self.overlap for _, other, _ in fitting):
                fitting.append((place, row, words if place >= 0 and words else row["phrase"]))
        return [(row, words) for _, row, words in sorted(fitting[: self.most], key=lambda entry: entry[0])]

    def _is_clear(self, row: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
        share = row["area_share"]
        if share is None:
            share = (row["x1"] - row["x0"]) * (row["y1"] - row["y0"]) / (image["height"] * image["width"])
        return self.share[0] <= share <= self.share[1] and (row["score"] is None or row["score"] >= self.least_score)


def place_in(caption: str, phrase: str) -> int:
    """Returns where `phrase` stands in `caption` as whole words, whatever their case; -1 if it does not, or twice."""
    found = [match.start() for match in phrase_pattern(phrase).finditer(caption)] if phrase else []
    return found[0] if len(found) == 1 else -1


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """Returns the pattern of a phrase as whole words, with spaces of any width."""
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def _overlap(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Returns intersection over union of two boxes."""
    width = min(a["x1"], b["x1"]) - max(a["x0"], b["x0"])
    height = min(a["y1"], b["y1"]) - max(a["y0"], b["y0"])
    common = max(0, width) * max(0, height)
    return common / max(1, _area(a) + _area(b) - common)


def _area(row: Mapping[str, Any]) -> int:
    area: int = (row["x1"] - row["x0"]) * (row["y1"] - row["y0"])
    return area


def images_with_entities(
    images: Sequence[Mapping[str, Any]], entities: Iterable[Mapping[str, Any]], captions: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yields what `SubjectEntities.find` takes: each of `images` (key, height, width) with its caption and entities."""
    about: dict[str, list[Mapping[str, Any]]] = {}
    for row in entities:
        about.setdefault(row["key"], []).append(row)
    for image in images:
        found = about.get(image["key"], [])
        yield {**image, "caption": captions.get(image["key"]), "entities": found}
