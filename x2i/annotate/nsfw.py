"""nsfw: how likely an image is not safe for work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.annotate.classifier import label_numbers
from x2i.models.abilities import ImageClassifier
from x2i.models.registry import Ability
from x2i.options import Option


@dataclass(frozen=True)
class Nsfw(ModelAnnotation):
    """score: probability that an image is not safe for work. Yahoo calls below 0.2 safe, above 0.8 very likely not."""

    name: ClassVar[str] = "nsfw"
    title: ClassVar[str] = "Not safe for work, 0 to 1"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()),)
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.IMAGE_CLASSIFIER}

    model: Annotated[str, Option("The classifier: onnx:opennsfw, or hf:MODEL.")] = "onnx:opennsfw"
    label: Annotated[str, Option("The classifier's label that means not safe for work.")] = "nsfw"

    def load(self) -> Annotator:
        return NsfwScorer(self.backends()["model"].load(), self.label)


class NsfwScorer:
    def __init__(self, classifier: ImageClassifier, label: str) -> None:
        self._classifier = classifier
        (self._number,) = label_numbers(classifier.labels, [label])

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        probabilities_NC = self._classifier.classify([image.pixels for image in images])
        return [{"score": float(score)} for score in probabilities_NC[:, self._number]]
