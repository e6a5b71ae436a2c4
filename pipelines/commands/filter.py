"""`x2i filter`: scores every stored image; drops none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.engine.options import DatasetArgument, RunOptions, stage_command
from pipelines.stages.annotate import AnnotateStage, Annotation


@dataclass(frozen=True)
class FilterStage(AnnotateStage):
    """images -> columns/quality: the scores of x2i.annotate.scores.FILTERS."""

    name = "filter"
    format_version = 1
    column = "quality"

    def config(self) -> dict[str, Any]:
        from x2i.annotate.scores import FILTERS

        return {"scores": list(FILTERS)}

    def annotator(self) -> QualityAnnotator:
        return QualityAnnotator()


class QualityAnnotator:
    """One row per image: every score's fields side by side."""

    needs_pixels = True

    def __init__(self) -> None:
        from x2i.annotate.scores import FILTERS

        self._scores = tuple(FILTERS.values())
        fields = [field for score in self._scores for field in score.fields]
        self.schema = pa.schema([("key", pa.string()), *fields])

    def annotate(
        self, rows: Sequence[Mapping[str, Any]], images: Sequence[NDArray[np.uint8] | None]
    ) -> list[Annotation]:
        from x2i.annotate.scores import Picture

        pictures = [Picture(image) for image in images if image is not None]
        scored = [{name: value for s in self._scores for name, value in s.score(p).items()} for p in pictures]
        return [Annotation((row,)) for row in scored]


@stage_command
def command(
    dataset: DatasetArgument,
    run: RunOptions,
) -> None:
    """Score every image: resolution, aspect ratio, sharpness, exposure, contrast, entropy, perceptual hash.

    Nothing is dropped here. The scores become the column `quality`; cuts are made later, when shards are materialized,
    by an SQL selection such as "quality.min_side >= 512 AND quality.sharpness > 50", so they can be moved without
    scoring again.

    Example: x2i filter my-dataset
    """
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    run_stages([FilterStage()], Dataset.open(dataset), run)
