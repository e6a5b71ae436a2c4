"""A vision-language model as the judge of subject rows: asked of each reference whether a picture shows the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from x2i.models.abilities import Caption, Captioner, PageText, RgbImage
from x2i.pairs.writer import side_by_side
from x2i.reasons import Dropped, Reason
from x2i.relate.subject_rows import SubjectInput, SubjectRow
from x2i.seeding import stable_hash

PROMPT = (
    "The left half of this picture shows a person, an animal, an object or a place. Does the right half show the very "
    "same one, not merely one of its kind? It may be seen from another side, in another light, smaller, or together "
    "with others. Answer with one word: yes or no."
)
HEIGHT = 448
"""Of the picture that the judge is shown, in pixels."""
MARGINS = {"person": 3.0}
"""How much larger than its box, along each side, a reference of a kind is shown; MARGIN for the others."""
MARGIN = 1.15
_ANSWER = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)

Question = tuple[SubjectInput, str, str]
"""A reference, the kind of its row, and the key of the image that may show the same."""


@dataclass(frozen=True)
class JudgeRule:
    """references: pictures of a subject that are compared with the target, the row's own input first.
    yes_rate: share of the answers that must be yes, for each input of a row. batch: pictures of one call.
    """

    references: int = 5
    yes_rate: float = 0.6
    batch: int = 16


def judged_rows(
    rows: Sequence[SubjectRow], read_image: Callable[[str], RgbImage], judge: Captioner, rule: JudgeRule
) -> tuple[list[SubjectRow], list[tuple[SubjectRow, Reason]]]:
    """Returns the rows that the judge confirms, with its yes-rate, and the others, each with the reason.

    judge: a captioner that was made with the prompt PROMPT. read_image: gives the pixels of a key.
    Further references of an input are the images that other rows join with both it and the target. The yes-rate of a
    row is that of its least certain input: of two people both must be in the group photo. Answers that are neither yes
    nor no do not count, and an input with no other answers leaves its row unconfirmed.
    """
    references = _References(rows)
    asked = [[references.of(one, row, rule.references) for one in row.inputs] for row in rows]
    questions = list(dict.fromkeys(question for row in asked for one in row for question in one))
    questions.sort(key=lambda question: (question[2], question[0].key))
    answers = dict(zip(questions, _answers(questions, read_image, judge, rule.batch)))
    kept: list[SubjectRow] = []
    lost: list[tuple[SubjectRow, Reason]] = []
    for row, of_inputs in zip(rows, asked):
        said = [[answers[question] for question in one if answers[question] is not None] for one in of_inputs]
        if not all(said):
            lost.append((row, Reason.ANSWER_INVALID))
            continue
        rate = min(sum(map(bool, one)) / len(one) for one in said)
        if rate < rule.yes_rate:
            lost.append((row, Reason.JUDGED_DIFFERENT))
            continue
        counts = {"yes": [sum(map(bool, one)) for one in said], "asked": [len(one) for one in said]}
        scores, evidence = {**row.scores, "yes_rate": round(rate, 4)}, {**row.evidence, "judge": counts}
        kept.append(replace(row, scores=scores, evidence=evidence))
    return kept, lost


class _References:
    """Which images rows of one kind join, and which part of each they show."""

    def __init__(self, rows: Sequence[SubjectRow]) -> None:
        self._joined: Mapping[tuple[str, str], set[str]] = defaultdict(set)
        self._parts: dict[tuple[str, str, str], SubjectInput] = {}
        for row in rows:
            for one in row.inputs:
                self._joined[row.kind, row.target].add(one.key)
                self._joined[row.kind, one.key].add(row.target)
                self._parts.setdefault((row.kind, one.key, row.target), one)

    def of(self, one: SubjectInput, row: SubjectRow, most: int) -> list[Question]:
        """Returns the questions about an input of a row: the input itself, then up to `most` - 1 others by hash."""
        both = self._joined[row.kind, one.key] & self._joined[row.kind, row.target] - {one.key, row.target}
        shown = [self._parts[row.kind, key, one.key] for key in both if (row.kind, key, one.key) in self._parts]
        shown.sort(key=lambda part: stable_hash("judge", part.key, one.key, row.target))
        return [(_plain(part), row.kind, row.target) for part in [one, *shown[: most - 1]]]


def _plain(part: SubjectInput) -> SubjectInput:
    """Returns what decides how an input is shown, so that one question is asked once."""
    return SubjectInput(part.key, tuple(part.box))


def _answers(
    questions: Sequence[Question], read_image: Callable[[str], RgbImage], judge: Captioner, batch: int
) -> Iterator[bool | None]:
    for start in range(0, len(questions), batch):
        sheets = [_sheet(*question, read_image) for question in questions[start : start + batch]]
        yield from map(answer_of, judge.caption(sheets, [PageText()] * len(sheets)))


def _sheet(part: SubjectInput, kind: str, target: str, read_image: Callable[[str], RgbImage]) -> RgbImage:
    reference = _shown(read_image(part.key), part.box, MARGINS.get(kind, MARGIN))
    width = max(1, round(reference.shape[1] * HEIGHT / reference.shape[0]))
    smooth = cv2.INTER_AREA if reference.shape[0] > HEIGHT else cv2.INTER_CUBIC
    left = np.asarray(cv2.resize(reference, (width, HEIGHT), interpolation=smooth), np.uint8)
    return side_by_side(left, read_image(target))


def _shown(image: RgbImage, box: Sequence[int], margin: float) -> RgbImage:
    """Returns the part of an image_HWC around a box; the whole image without one."""
    if not len(box):
        return image
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    across, down = (margin - 1) / 2 * (x1 - x0), (margin - 1) / 2 * (y1 - y0)
    left, top = max(0, round(x0 - across)), max(0, round(y0 - down))
    return image[top : min(height, round(y1 + down)), left : min(width, round(x1 + across))]


def answer_of(found: Caption | Dropped | None) -> bool | None:
    """Returns whether the judge said yes; None where it said neither yes nor no."""
    said = _ANSWER.match(found.text) if isinstance(found, Caption) else None
    return said[1].lower() == "yes" if said else None
