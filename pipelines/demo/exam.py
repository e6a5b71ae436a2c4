"""Asks a trained network for scenes it has not seen, and judges the pictures from their pixels by the exact truth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from x2i.sample import placeholder
from x2i.scenes.draw import draw
from x2i.scenes.judge import color_mask, iou, see
from x2i.scenes.scene import COLORS, Kinds, Pairs, SceneOptions, Thing, draw_lots
from x2i.scenes.words import brief, name_of
from x2i.store.files.atomic import write_json

if TYPE_CHECKING:
    from omnigen.generate.pipeline import OmniGenPipeline

SEED = 20_000
"""Of the scenes asked for; training has others."""
STEPS = 20
ENOUGH = 0.5
"""An edit is right where the new color covers the thing with an IoU of so much."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Question:
    """instruction: what is asked. inputs: the picture to edit, or none. wanted: the picture that would be exact.

    mask: of the thing in it. pairs: whether its pair of color and kind was ever trained on.
    """

    instruction: str
    inputs: tuple[Pixels, ...]
    wanted: Pixels
    thing: Thing
    mask: NDArray[np.bool_]
    ground: str
    pairs: Pairs


@dataclass(frozen=True)
class Answer:
    """picture: what the network drew. right: what is asked -> whether it is right. overlap: IoU of the asked color."""

    question: Question
    picture: Pixels
    right: dict[str, bool]
    overlap: float


def prompts(count: int, size: int) -> list[Question]:
    """Returns `count` captions of scenes of one shape, half of them of pairs that are never trained on."""
    asked = []
    for pairs in (Pairs.SEEN, Pairs.UNSEEN):
        options = SceneOptions(SEED, size, most=1, kinds=Kinds.SHAPES, textures=0.0, pairs=pairs)
        for number in range(count // 2):
            scene = draw_lots(options, number)
            drawn = draw(scene)
            (thing,), (mask,) = scene.things, drawn.masks
            asked.append(
                Question(
                    "{things} on {ground}".format(**brief(scene)), (), drawn.pixels, thing, mask, scene.ground, pairs
                )
            )
    return asked


def recolorings(count: int, size: int) -> list[Question]:
    """Returns `count` wishes to recolor the shape of a scene that is not trained on."""
    options = SceneOptions(SEED + 1, size, most=1, kinds=Kinds.SHAPES, textures=0.0, pairs=Pairs.SEEN)
    asked = []
    for number in range(count):
        scene = draw_lots(options, number)
        (thing,) = scene.things
        colors = [color for color in COLORS if color != thing.color]
        recolored = replace(thing, color=colors[number % len(colors)])
        drawn = draw(replace(scene, things=(recolored,)))
        text = f"{placeholder(1)} Make the {name_of(thing)} {recolored.color}."
        (mask,) = drawn.masks
        asked.append(Question(text, (draw(scene).pixels,), drawn.pixels, recolored, mask, scene.ground, options.pairs))
    return asked


def answer(pipeline: OmniGenPipeline, questions: Sequence[Question], guidance: float) -> list[Answer]:
    """Draws what is asked, all in one pack, and judges it. guidance: strength of the words' (1: none)."""
    from omnigen.generate.options import GenerationOptions

    height, width = questions[0].wanted.shape[:2]
    options = GenerationOptions(
        height=height, width=width, steps=STEPS, guidance=guidance, image_guidance=0.0, shift=pipeline.shift
    )
    jobs = [
        pipeline.job(question.instruction, question.inputs, options, [number])
        for number, question in enumerate(questions)
    ]
    pictures = pipeline.decode(pipeline.integrate(jobs, options))
    return [judged(question, picture) for question, picture in zip(questions, pictures, strict=True)]


def judged(question: Question, picture: Pixels) -> Answer:
    """Returns what is right about a picture; of one in which nothing is seen, nothing is."""
    seen, thing = see(picture), question.thing
    right = {
        "color": seen is not None and seen.color == thing.color,
        "side": seen is not None and seen.place == thing.place,
        "shape": seen is not None and seen.kind == thing.kind,
        "background": seen is not None and seen.ground == question.ground,
    }
    return Answer(question, picture, right, iou(color_mask(picture, thing.color), question.mask))


def scores(drawn: Sequence[Answer], edited: Sequence[Answer]) -> dict[str, Any]:
    """Returns the shares of right answers: of prompts by what is asked and by pairs, of edits by color and overlap."""
    told: dict[str, Any] = {"prompts": len(drawn), "edits": len(edited)}
    for what in ("color", "side", "shape", "background"):
        told[what] = _share(one.right[what] for one in drawn)
    told["color_and_side"] = _share(one.right["color"] and one.right["side"] for one in drawn)
    told["color_side_and_shape"] = _share(all(one.right[what] for what in ("color", "side", "shape")) for one in drawn)
    for pairs in (Pairs.SEEN, Pairs.UNSEEN):
        of_pairs = [one for one in drawn if one.question.pairs is pairs]
        told[f"color_and_side_of_{pairs}_pairs"] = _share(one.right["color"] and one.right["side"] for one in of_pairs)
    told["recolored"] = _share(one.overlap >= ENOUGH for one in edited)
    told["overlap"] = round(float(np.mean([one.overlap for one in edited])), 4)
    return told


def add_to_summary(run: Path, found: dict[str, Any]) -> None:
    """Writes the scores into the run's summary.json, under `scenes`."""
    path = run / "summary.json"
    write_json(path, {**json.loads(path.read_text()), "scenes": found})


def _share(right: Iterable[bool]) -> float:
    values = list(right)
    return round(sum(values) / max(1, len(values)), 4)
