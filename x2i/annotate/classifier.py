"""classifier: what an image classifier says about every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.errors import UserError
from x2i.models.abilities import ImageClassifier
from x2i.models.registry import Ability
from x2i.options import Option

SHOWN_LABELS = 20


@dataclass(frozen=True)
class Classifier(ModelAnnotation):
    """Classify every image by a model of your choice: watermark, photograph or drawing, ImageNet's classes.

    label, probability: the likeliest label of all, and its probability. probabilities: those of the labels that you
    named, in that order. score: the largest of these; null if you named none.
    """

    name: ClassVar[str] = "classifier"
    title: ClassVar[str] = "Labels of an image classifier"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("label", pa.string()),
        pa.field("probability", pa.float32()),
        pa.field("score", pa.float32()),
        pa.field("probabilities", pa.list_(pa.float32())),
    )
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.IMAGE_CLASSIFIER}

    model: Annotated[str, Option("The classifier: hf:MODEL, a folder or a name on the Hub.")] = (
        "hf:google/vit-base-patch16-224"
    )
    labels: Annotated[tuple[str, ...], Option("A label whose probability is kept; may be repeated.")] = ()

    def load(self) -> Annotator:
        return LabelWriter(self.backends()["model"].load(), self.labels)


class LabelWriter:
    def __init__(self, classifier: ImageClassifier, labels: Sequence[str]) -> None:
        self._classifier = classifier
        self._numbers = label_numbers(classifier.labels, labels)

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for probabilities_C in self._classifier.classify([image.pixels for image in images]):
            best = int(probabilities_C.argmax())
            named = [float(probabilities_C[number]) for number in self._numbers]
            row = {"label": self._classifier.labels[best], "probability": float(probabilities_C[best])}
            verdicts.append({**row, "score": max(named, default=None), "probabilities": named})
        return verdicts


def label_numbers(known: Sequence[str], named: Sequence[str]) -> list[int]:
    """Returns the place of each of the labels `named` among `known`. Raises UserError if one is not there."""
    for label in named:
        if label not in known:
            more = ", ..." if len(known) > SHOWN_LABELS else ""
            raise UserError(f"the classifier has no label {label!r}; it has {', '.join(known[:SHOWN_LABELS])}{more}")
    return [list(known).index(label) for label in named]
