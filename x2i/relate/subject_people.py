"""Pictures of the same person, by the vectors of faces: one to one, a group photo to one, and two to a group photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.relate.candidates import embedding_pairs
from x2i.relate.near import clusters
from x2i.relate.subject_rows import SubjectInput, SubjectRow
from x2i.relate.subjects import cosines
from x2i.seeding import stable_hash

NEIGHBORS = 30
LEAST_SHARE = 0.004
"""Of the picture's area: smaller faces say too little."""


@dataclass(frozen=True)
class PeopleRule:
    """same_person: cosine from which two faces are one person's. references: pictures that a group photo is compared
    with. yes_rate: share of them that must agree. per_image: rows with one target at most, of each shape.
    """

    same_person: float = 0.45
    references: int = 5
    yes_rate: float = 0.6
    per_image: int = 10


@dataclass(frozen=True)
class _Face:
    key: str
    face: int
    box: tuple[int, ...]
    size: Sequence[int]
    row: int

    @property
    def input(self) -> SubjectInput:
        return SubjectInput(self.key, self.box, "", self.size, "the person", self.face)


def person_rows(faces: pa.Table, sizes: Mapping[str, Sequence[int]], rule: PeopleRule) -> list[SubjectRow]:
    """Returns the rows that the faces prove. faces: those of images that may be joined, as in the column `faces`.
    sizes: image key -> height and width.

    A picture is a single one if it has one face, and a group photo if it has more. An image of a group photo is cut to
    the face's surroundings by whoever uses the row; the box is the face's own.
    """
    rows = [row for row in faces.to_pylist() if (row["share"] or 0) >= LEAST_SHARE]
    if len(rows) < 2:
        return []
    vectors_FD = np.array([row["vector"] for row in rows], np.float32)
    found = [_Face(row["key"], row["face"], _box(row), sizes[row["key"]], number) for number, row in enumerate(rows)]
    in_image: dict[str, list[_Face]] = {}
    for face in found:
        in_image.setdefault(face.key, []).append(face)
    persons = _persons(found, vectors_FD, rule.same_person)
    made: list[SubjectRow] = []
    singles = {
        person: sorted((f for f in of_person if len(in_image[f.key]) == 1), key=lambda f: stable_hash("person", f.key))
        for person, of_person in persons.items()
    }
    for person, of_person in sorted(persons.items()):
        groups = [face for face in of_person if len(in_image[face.key]) > 1]
        made += _single_to_single(singles[person], vectors_FD, rule)
        made += _group_to_single(groups, singles[person], vectors_FD, rule)
    person_of = {face.row: person for person, of_person in persons.items() for face in of_person}
    for of_image in in_image.values():
        if len(of_image) > 1:
            made += _singles_to_group(of_image, person_of, singles, vectors_FD, rule)
    return made


def _persons(found: Sequence[_Face], vectors_FD: NDArray[np.float32], same: float) -> dict[int, list[_Face]]:
    """Returns person -> faces. A person found twice in one image is left out: a chain of likenesses joined two."""
    pairs_P2 = embedding_pairs(vectors_FD, NEIGHBORS)
    near_P2 = pairs_P2[cosines(vectors_FD, pairs_P2) >= same]
    persons: dict[int, list[_Face]] = {}
    for face, person in zip(found, clusters(len(found), near_P2).tolist()):
        persons.setdefault(person, []).append(face)
    return {
        person: faces
        for person, faces in persons.items()
        if len(faces) > 1 and len({face.key for face in faces}) == len(faces)
    }


def _single_to_single(
    singles: Sequence[_Face], vectors_FD: NDArray[np.float32], rule: PeopleRule
) -> Iterator[SubjectRow]:
    for a, b in permutations(singles[: rule.references + 1], 2):
        cosine = _cosine(a, b, vectors_FD)
        if cosine >= rule.same_person:
            yield _row(b.key, (a,), {"shape": "single_to_single", "yes_rate": 1.0}, cosine)


def _group_to_single(
    groups: Sequence[_Face], singles: Sequence[_Face], vectors_FD: NDArray[np.float32], rule: PeopleRule
) -> Iterator[SubjectRow]:
    for group in groups:
        rate, agreeing = _asked(group, singles, vectors_FD, rule)
        if rate < rule.yes_rate:
            continue
        for single in agreeing[: rule.per_image]:
            evidence = {"shape": "group_to_single", "yes_rate": rate}
            yield _row(single.key, (group,), evidence, _cosine(group, single, vectors_FD))


def _singles_to_group(
    of_image: Sequence[_Face],
    person_of: Mapping[int, int],
    singles: Mapping[int, Sequence[_Face]],
    vectors_FD: NDArray[np.float32],
    rule: PeopleRule,
) -> Iterator[SubjectRow]:
    """Yields one row for each two known persons of a group photo, both of whom their single pictures confirm."""
    asked = []
    for face in sorted(of_image, key=lambda face: face.box[0]):
        rate, agreeing = _asked(face, singles.get(person_of.get(face.row, -1), ()), vectors_FD, rule)
        if rate >= rule.yes_rate and agreeing:
            asked.append((face, rate, agreeing[0]))
    for (face_a, rate_a, single_a), (face_b, rate_b, single_b) in list(combinations(asked, 2))[: rule.per_image]:
        cosine = min(_cosine(face_a, single_a, vectors_FD), _cosine(face_b, single_b, vectors_FD))
        evidence = {"shape": "singles_to_group", "yes_rate": min(rate_a, rate_b)}
        yield _row(face_a.key, (single_a, single_b), evidence, cosine)


def _asked(
    face: _Face, singles: Sequence[_Face], vectors_FD: NDArray[np.float32], rule: PeopleRule
) -> tuple[float, list[_Face]]:
    """Returns the share of the references that show this person, and those that do."""
    references = [single for single in singles if single.key != face.key][: rule.references]
    agreeing = [single for single in references if _cosine(face, single, vectors_FD) >= rule.same_person]
    return (len(agreeing) / len(references) if references else 0.0), agreeing


def _row(target: str, inputs: Sequence[_Face], evidence: Mapping[str, Any], cosine: float) -> SubjectRow:
    parts = tuple(face.input for face in inputs)
    return SubjectRow(target, parts, "person", {}, {**evidence, "face_similarity": round(cosine, 5)})


def _cosine(a: _Face, b: _Face, vectors_FD: NDArray[np.float32]) -> float:
    return float(vectors_FD[a.row] @ vectors_FD[b.row])


def _box(row: Mapping[str, Any]) -> tuple[int, ...]:
    return row["x0"], row["y0"], row["x1"], row["y1"]
