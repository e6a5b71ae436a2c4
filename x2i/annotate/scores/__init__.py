"""Scores of one image, one file each. A score never drops an image; a selection over the scores does, later."""

from x2i.annotate.scores.aspect import Aspect
from x2i.annotate.scores.base import Picture, Score
from x2i.annotate.scores.entropy import Entropy
from x2i.annotate.scores.exposure import Exposure
from x2i.annotate.scores.phash import PerceptualHash
from x2i.annotate.scores.resolution import Resolution
from x2i.annotate.scores.sharpness import Sharpness

FILTERS: dict[str, Score] = {
    "resolution": Resolution(),
    "aspect": Aspect(),
    "sharpness": Sharpness(),
    "exposure": Exposure(),
    "entropy": Entropy(),
    "phash": PerceptualHash(),
}

__all__ = ["FILTERS", "Picture", "Score"]
