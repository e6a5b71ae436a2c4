"""The exam on drawn scenes that are not trained on: pictures judged from their pixels by the exact truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.exam.asking import Pixels, ask
from x2i.recipes.segmentation import BLUE
from x2i.sample import placeholder
from x2i.scenes.draw import draw
from x2i.scenes.judge import color_mask, iou, nearer_mask, see
from x2i.scenes.scene import COLORS, Kinds, Pairs, SceneOptions, Thing, draw_lots
from x2i.scenes.words import brief, name_of

if TYPE_CHECKING:
    from omnigen.generate.pipeline import OmniGenPipeline

SEED = 20_000
"""Of the scenes asked for; training has others."""
STEPS = 20
GUIDANCE = 2.5
"""Of prompts: so short a training knows the words better than it dares to show. Edits came out better without."""
ENOUGH = 0.5
"""An edit is right where what it should paint covers the thing with an IoU of so much."""


@dataclass(frozen=True)
class Question:
    """instruction: what is asked. inputs: the picture to edit, or none. wanted: the picture that would be exact.

    thing: what is asked about, as it should look; mask: of it. pairs: whether its pair of color and kind was ever
    trained on. paint: RGB of what is to be found over the thing, None for its color.
    """

    instruction: str
    inputs: tuple[Pixels, ...]
    wanted: Pixels
    thing: Thing
    mask: NDArray[np.bool_]
    ground: str
    pairs: Pairs
    paint: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Answer:
    """picture: what the network drew. right: what is asked -> whether it is right. overlap: IoU of the paint."""

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
            text = "{things} on {ground}".format(**brief(scene))
            asked.append(Question(text, (), drawn.pixels, thing, mask, scene.ground, pairs))
    return asked


def recolorings(count: int, size: int) -> list[Question]:
    """Returns `count` wishes to recolor the shape of a scene."""
    options = SceneOptions(SEED + 1, size, most=1, kinds=Kinds.SHAPES, textures=0.0, pairs=Pairs.SEEN)
    asked = []
    for number in range(count):
        scene = draw_lots(options, number)
        (thing,) = scene.things
        colors = [color for color in COLORS if color != thing.color]
        recolored = replace(thing, color=colors[number % len(colors)])
        drawn = draw(replace(scene, things=(recolored,)))
        text = f"Make the {name_of(thing)} {recolored.color}: {placeholder(1)}"
        (mask,) = drawn.masks
        asked.append(Question(text, (draw(scene).pixels,), drawn.pixels, recolored, mask, scene.ground, options.pairs))
    return asked


def paintings(count: int, size: int, things: int) -> list[Question]:
    """Returns `count` wishes to paint a shape blue (referring segmentation) in scenes of so many things."""
    options = SceneOptions(SEED + 2, size, most=things, kinds=Kinds.SHAPES, textures=0.0, pairs=Pairs.SEEN)
    asked: list[Question] = []
    number = 0
    while len(asked) < count:
        scene = draw_lots(options, number)
        number += 1
        thing = scene.things[number % len(scene.things)]
        if len(scene.things) != things or thing.color == "blue":
            continue
        drawn = draw(scene)
        mask = drawn.masks[scene.things.index(thing)]
        wanted = np.where(mask[..., None], np.array(BLUE, np.uint8), drawn.pixels)
        text = f"Paint the {name_of(thing)} in {placeholder(1)} blue."
        asked.append(Question(text, (drawn.pixels,), wanted, thing, mask, scene.ground, options.pairs, BLUE))
    return asked


def answer(pipeline: OmniGenPipeline, questions: Sequence[Question]) -> list[Answer]:
    """Draws what is asked, all prompts or all edits, in one pack, and judges it."""
    asked = [(question.instruction, question.inputs) for question in questions]
    size, are_edits = questions[0].wanted.shape[0], any(question.inputs for question in questions)
    pictures = ask(pipeline, asked, size, steps=STEPS, guidance=1.0 if are_edits else GUIDANCE)
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
    if question.paint is None:
        painted = color_mask(picture, thing.color)
    else:
        painted = nearer_mask(picture, question.paint, question.inputs[0])
    return Answer(question, picture, right, iou(painted, question.mask))


def prompt_scores(drawn: Sequence[Answer]) -> dict[str, Any]:
    """Returns the shares of prompts drawn right, by what is asked and by pairs."""
    told: dict[str, Any] = {"prompts": len(drawn)}
    for what in ("color", "side", "shape", "background"):
        told[what] = share(one.right[what] for one in drawn)
    told["color_and_side"] = share(one.right["color"] and one.right["side"] for one in drawn)
    told["color_side_and_shape"] = share(all(one.right[what] for what in ("color", "side", "shape")) for one in drawn)
    for pairs in (Pairs.SEEN, Pairs.UNSEEN):
        of_pairs = [one for one in drawn if one.question.pairs is pairs]
        told[f"color_and_side_of_{pairs}_pairs"] = share(one.right["color"] and one.right["side"] for one in of_pairs)
    return told


def recoloring_scores(edited: Sequence[Answer]) -> dict[str, Any]:
    """Returns the share of recolorings that are right, and the mean overlap of the asked color with the thing."""
    return {"edits": len(edited), "recolored": right_share(edited), "overlap": mean_overlap(edited)}


def right_share(answers: Sequence[Answer]) -> float:
    """Returns the share of edits whose paint covers the thing."""
    return share(one.overlap >= ENOUGH for one in answers)


def mean_overlap(answers: Sequence[Answer]) -> float:
    """Returns the mean IoU of what was painted with what should be."""
    return round(float(np.mean([one.overlap for one in answers])), 4)


def share(right: Iterable[bool]) -> float:
    """Returns how many are true, 0 to 1, rounded; 0 for none at all."""
    values = list(right)
    return round(sum(values) / max(1, len(values)), 4)
