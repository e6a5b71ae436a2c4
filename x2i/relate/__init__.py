"""How images relate to each other: exact, near and semantic duplicates, and pairs that show the same thing."""

from __future__ import annotations

from x2i.registry import Registry
from x2i.relate.base import Relation
from x2i.tables import TableSpec

RELATIONS: Registry[Relation] = Registry(
    "relation",
    {
        "duplicates": "x2i.relate.duplicates:Duplicates",
        "semantic_duplicates": "x2i.relate.semantic_duplicates:SemanticDuplicates",
        "entity_clusters": "x2i.relate.entity_clusters:EntityClusters",
        "caption_repeats": "x2i.relate.caption_repeats:CaptionRepeats",
        "subject_pairs": "x2i.relate.subject_pairs:SubjectPairs",
        "subject_frames": "x2i.relate.subject_frames:SubjectFrames",
        "frame_pairs": "x2i.relate.frame_pairs:FramePairs",
        "subject_entities": "x2i.relate.subject_entities:SubjectEntities",
    },
)


def relation_of(spec: TableSpec | None) -> type[Relation] | None:
    """Returns the class of a declared relation, None for one that is not registered here."""
    return RELATIONS.get(spec.name) if spec is not None and spec.name in RELATIONS else None
