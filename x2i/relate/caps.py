"""Caps: at most so many rows about one image, one subject and one page, the best first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from x2i.relate.near import clusters
from x2i.relate.subject_rows import SubjectRow
from x2i.seeding import stable_hash


def capped(
    rows: Sequence[SubjectRow], pages: Mapping[str, str], per_image: int, per_subject: int, per_page: int
) -> list[SubjectRow]:
    """Returns the rows that stay, in their order.

    An image may be the target of `per_image` rows. A subject is what rows join, directly or through others, and
    `per_subject` rows of it stay. pages: image key -> its page, "" where it has none; a page may give the
    targets of `per_page` rows.
    Rows with more agreeing places, then with less similarity, come first; equals are ordered by hash.
    """
    subject = subjects(rows)
    taken: dict[str, Counter[str | int]] = {"image": Counter(), "subject": Counter(), "page": Counter()}
    limits = {"image": per_image, "subject": per_subject, "page": per_page}
    kept = []
    for number in sorted(range(len(rows)), key=lambda number: _rank(rows[number])):
        row = rows[number]
        groups: dict[str, str | int] = {"image": row.target, "subject": subject[number]}
        if page := pages.get(row.target, ""):
            groups["page"] = page
        if all(taken[name][group] < limits[name] for name, group in groups.items()):
            kept.append(number)
            for name, group in groups.items():
                taken[name][group] += 1
    return [rows[number] for number in sorted(kept)]


def subjects(rows: Sequence[SubjectRow]) -> list[int]:
    """Returns the number of each row's subject: rows that share an image, directly or through others, have the same."""
    place = {key: number for number, key in enumerate(sorted({key for row in rows for key in row.keys}))}
    links = [(place[row.target], place[key]) for row in rows for key in row.keys[1:]]
    if not place:
        return []
    group = clusters(len(place), np.array(links, np.int64).reshape(-1, 2))
    return [int(group[place[row.target]]) for row in rows]


def _rank(row: SubjectRow) -> tuple[float, float, int]:
    inputs = [part for one in row.inputs for part in (one.key, one.entity)]
    return -row.scores.get("inliers", 0), row.scores.get("similarity", 0.0), stable_hash("cap", row.target, *inputs)
