"""The one format of subject relations: rows of inputs that show subjects, and the image that is to show them again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from x2i.tables import TableSpec

SCHEMA = pa.schema(
    [
        ("target", pa.string()),  # key of the image that shows the subjects
        ("inputs", pa.list_(pa.string())),  # keys of the images that the inputs are cut from, in order
        ("boxes", pa.list_(pa.list_(pa.int32()))),  # of each: x0, y0, x1, y1 in its pixels; empty: the whole image
        ("masks", pa.list_(pa.string())),  # of each: COCO run lengths of the whole image; "": none
        ("sizes", pa.list_(pa.list_(pa.int32()))),  # of each: height, width of its image; empty: the whole image
        ("phrases", pa.list_(pa.string())),  # of each: what it shows, as its caption or detector says it; "": unknown
        ("entities", pa.list_(pa.int32())),  # of each: number of the entity or face in its image; -1: none
        ("kind", pa.string()),  # how it was found: "entity", "geometry", "crop", "person", "video"
        ("similarity", pa.float32()),  # cosine of input (the least similar of several) and target; null: not measured
        ("phash_distance", pa.int32()),
        ("inliers", pa.int32()),
        ("inlier_ratio", pa.float32()),
        ("area_ratio", pa.float32()),  # of the image where it is smaller: share that the agreeing places span
        ("yes_rate", pa.float32()),  # share of a judge's answers that are yes, for its least certain input; null: none
        ("evidence", pa.string()),  # JSON: what else proves it
    ]
)


@dataclass(frozen=True)
class SubjectInput:
    """One input: an image, and the part of it that shows the subject. size: height and width of the whole image."""

    key: str
    box: Sequence[int] = ()
    mask: str = ""
    size: Sequence[int] = ()
    phrase: str = ""
    entity: int = -1


@dataclass(frozen=True)
class SubjectRow:
    """One row. scores: similarity, phash_distance, inliers, inlier_ratio, area_ratio, yes_rate, those measured."""

    target: str
    inputs: tuple[SubjectInput, ...]
    kind: str
    scores: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The images that it joins, each once, the target first."""
        return tuple(dict.fromkeys((self.target, *(one.key for one in self.inputs))))


def subject_spec(name: str, title: str, made_by: str) -> TableSpec:
    """Returns the declaration of a relation in this format."""
    return TableSpec(name, title, made_by, SCHEMA, kind="relation", rows="many", image_keys=("target", "inputs"))


def subject_table(rows: Iterable[SubjectRow]) -> pa.Table:
    """Returns the rows as a table of SCHEMA, sorted by target and inputs."""
    plain = [
        {
            "target": row.target,
            "inputs": [one.key for one in row.inputs],
            "boxes": [list(one.box) for one in row.inputs],
            "masks": [one.mask for one in row.inputs],
            "sizes": [list(one.size) for one in row.inputs],
            "phrases": [one.phrase for one in row.inputs],
            "entities": [one.entity for one in row.inputs],
            "kind": row.kind,
            **row.scores,
            "evidence": json.dumps(row.evidence, sort_keys=True),
        }
        for row in rows
    ]
    plain.sort(key=lambda row: (row["target"], row["inputs"], row["entities"], row["kind"]))
    return pa.Table.from_pylist(plain, schema=SCHEMA)


def entity_input(row: Mapping[str, Any], size: Sequence[int], phrase: str | None = None) -> SubjectInput:
    """Returns the object of a row of the column `entities` as an input; what is said of it is its label by default."""
    box = [row[side] for side in ("x0", "y0", "x1", "y1")]
    said = row["label"] if phrase is None else phrase
    return SubjectInput(row["key"], box, row["mask_counts"] or "", size, said or "", row["entity"])
