"""The exam on parts of photographs that are not trained on: damaged ones restored, and gray ones colorized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from pipelines.exam.asking import Pixels, ask
from x2i.reasons import Dropped
from x2i.recipes.base import Source
from x2i.recipes.restoration.base import Restoration, psnr
from x2i.recipes.restoration.colorize import Colorize
from x2i.seeding import generator

if TYPE_CHECKING:
    from omnigen.codecs.base import Codec
    from omnigen.generate.pipeline import OmniGenPipeline

STEPS = 2
"""Few steps end near the mean of what is possible, which is what PSNR asks for; more give sharper, riskier pictures."""


@dataclass(frozen=True)
class Repair:
    """A damaged picture, `given`, and the photograph behind it, `wanted`; task: the recipe's name."""

    task: str
    instruction: str
    given: Pixels
    wanted: Pixels


@dataclass(frozen=True)
class Repaired:
    """picture: what the network drew. passed: `given` after the codec alone: what a network that copies would give."""

    repair: Repair
    picture: Pixels
    passed: Pixels


def repairs(recipe: Restoration, photographs: Sequence[Pixels]) -> list[Repair]:
    """Returns one wish for each photograph that is fit for the recipe."""
    asked = []
    for number, pixels in enumerate(photographs):
        rendered = recipe.make((Source(pixels),), {}, generator("exam", recipe.name, number))
        if isinstance(rendered, Dropped):
            continue
        text = recipe.instruction(f"exam-{number}", rendered)
        asked.append(Repair(recipe.name, text, rendered.inputs[0], rendered.output))
    return asked


def repair(pipeline: OmniGenPipeline, asked: Sequence[Repair]) -> list[Repaired]:
    """Draws what is asked, all in one pack."""
    size = asked[0].wanted.shape[0]
    pictures = ask(pipeline, [(one.instruction, (one.given,)) for one in asked], size, steps=STEPS)
    return [
        Repaired(one, picture, through_codec(pipeline.codec, one.given))
        for one, picture in zip(asked, pictures, strict=True)
    ]


def through_codec(codec: Codec, picture: Pixels) -> Pixels:
    """Returns a picture encoded and decoded again."""
    from omnigen.images import to_tensor, to_uint8

    return to_uint8(codec.decode(codec.encode(to_tensor(picture)[None]))[0])


def restoration_scores(repaired: Sequence[Repaired]) -> dict[str, Any]:
    """Returns mean PSNR against the photographs, in dB: of the inputs, of these after the codec alone, of the answers.

    gain: of the answers over the inputs. by_task: the same for each task.
    """
    told = _decibels(repaired)
    tasks = sorted({one.repair.task for one in repaired})
    return {
        **told,
        "by_task": {task: _decibels([one for one in repaired if one.repair.task == task]) for task in tasks},
    }


def colorization_scores(repaired: Sequence[Repaired]) -> dict[str, Any]:
    """Returns mean distances in chroma (a and b of CIELAB) to the photographs: of gray ones, and of the answers.

    nearer: the share of pictures whose answer is nearer than its gray input.
    """
    gray = [chroma_distance(one.repair.given, one.repair.wanted) for one in repaired]
    colorized = [chroma_distance(one.picture, one.repair.wanted) for one in repaired]
    nearer = [mine < theirs for mine, theirs in zip(colorized, gray)]
    return {
        "photographs": len(repaired),
        "gray": round(float(np.mean(gray)), 3),
        "colorized": round(float(np.mean(colorized)), 3),
        "nearer": round(float(np.mean(nearer)), 4),
    }


def is_colorization(recipe: Restoration) -> bool:
    """Whether a recipe is judged by its colors, not by PSNR."""
    return isinstance(recipe, Colorize)


def chroma_distance(picture: Pixels, wanted: Pixels) -> float:
    """Returns the mean distance of two RGB pictures in the plane of a and b of CIELAB."""
    one, other = (
        cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 1:] for image in (picture, wanted)
    )
    return float(np.linalg.norm(one - other, axis=-1).mean())


def _decibels(repaired: Sequence[Repaired]) -> dict[str, Any]:
    given, passed, answered = (
        float(np.mean([psnr(picture, one.repair.wanted) for one, picture in zip(repaired, pictures, strict=True)]))
        for pictures in (
            [one.repair.given for one in repaired],
            [one.passed for one in repaired],
            [one.picture for one in repaired],
        )
    )
    return {
        "photographs": len(repaired),
        "input": round(given, 2),
        "codec_alone": round(passed, 2),
        "restored": round(answered, 2),
        "gain": round(answered - given, 2),
    }
