"""Annotations: facts about images, each one file and one row. A score is an annotation made by `x2i filter`."""

from x2i.annotate.base import Annotation
from x2i.registry import Registry

ANNOTATIONS: Registry[Annotation] = Registry(
    "annotation",
    {
        "quality": "x2i.annotate.quality:Quality",
        "image_text": "x2i.annotate.image_text:ImageText",
        "captions": "x2i.annotate.captions:Captions",
        "entities": "x2i.annotate.entities:Entities",
        "embeddings": "x2i.annotate.embeddings:Embeddings",
        "depth": "x2i.annotate.depth:Depth",
    },
)

__all__ = ["ANNOTATIONS", "Annotation"]
