"""The sections of an exam's sheet: prompts, edits and repaired photographs as titled cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.exam.photographs import Repaired, chroma_distance, colorization_scores, restoration_scores
from pipelines.exam.scenes import ENOUGH, Answer, right_share, share
from pipelines.exam.sheet import Cell, Section
from x2i.recipes.restoration.base import psnr
from x2i.scenes.scene import Pairs


def prompt_sections(drawn: Sequence[Answer], trained: str) -> Iterator[Section]:
    """Yields what was drawn from words, first where color and shape were trained on together. trained: how."""
    yield Section("Held-out scenes, drawn from words", f"Judged from their pixels: green right, red! wrong. {trained}")
    for pairs, words in (
        (Pairs.SEEN, "Colors and shapes that were trained on together"),
        (Pairs.UNSEEN, "Colors and shapes that were never trained on together"),
    ):
        of_pairs = [one for one in drawn if one.question.pairs is pairs]
        right = share(one.right["color"] and one.right["side"] for one in of_pairs)
        marks = ("color", "side", "shape")
        cells = [
            Cell([one.picture], one.question.instruction, [(what, one.right[what]) for what in marks])
            for one in of_pairs
        ]
        yield Section(words, f"color and side right: {right:.0%}", cells)


def edit_section(title: str, edited: Sequence[Answer], below: str = "") -> Section:
    """Returns edits, each as input and answer."""
    cells = [
        Cell([one.question.inputs[0], one.picture], one.question.instruction, [("in place", one.overlap >= ENOUGH)])
        for one in edited
    ]
    covered = f"the paint covers the thing (IoU of {ENOUGH} or more): {right_share(edited):.0%}"
    return Section(f"{title}: input, answer", f"{covered}{below}", cells)


def restoration_section(repaired: Sequence[Repaired]) -> Section:
    """Returns restored photographs, each as input, answer and original."""
    found = restoration_scores(repaired)
    below = (
        f"PSNR: input {found['input']:.1f} dB, after the codec alone {found['codec_alone']:.1f} dB, restored "
        f"{found['restored']:.1f} dB; no part of these photographs was trained on"
    )
    cells = [_repaired(one, *(psnr(each, one.repair.wanted) for each in (one.picture, one.repair.given)))
             for one in repaired]  # fmt: skip
    return Section("Held-out photographs restored: input, answer, original", below, cells)


def colorization_section(repaired: Sequence[Repaired]) -> Section:
    """Returns colorized photographs, each as input, answer and original."""
    found = colorization_scores(repaired)
    below = (
        f"distance in chroma: gray {found['gray']:.1f}, colorized {found['colorized']:.1f}; nearer than gray: "
        f"{found['nearer']:.0%}"
    )
    cells = [_repaired(one, *(-chroma_distance(each, one.repair.wanted) for each in (one.picture, one.repair.given)))
             for one in repaired]  # fmt: skip
    return Section("Held-out photographs colorized: input, answer, original", below, cells)


def _repaired(one: Repaired, answered: float, given: float) -> Cell:
    return Cell(
        [one.repair.given, one.picture, one.repair.wanted], one.repair.instruction, [("nearer", answered > given)]
    )
