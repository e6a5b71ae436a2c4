"""The exam of `make learn`: what is asked of the network, its scores, and the sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.exam.asking import add_to_summary, describe_training
from pipelines.exam.photographs import colorization_scores, is_colorization, repair, repairs, restoration_scores
from pipelines.exam.scenes import (
    answer,
    mean_overlap,
    paintings,
    prompt_scores,
    prompts,
    recoloring_scores,
    recolorings,
    right_share,
)
from pipelines.exam.sections import colorization_section, edit_section, prompt_sections, restoration_section
from pipelines.exam.sheet import write_sheet
from pipelines.learn.photographs import held_out_parts
from pipelines.manifest import Manifest
from pipelines.stages.materialize import MaterializeStage
from x2i.recipes.restoration.base import Restoration

SHOWN = 8
"""Of the repaired photographs, on the sheet."""


@dataclass(frozen=True)
class Length:
    """How many are asked of each kind: prompts, edits (of each of three kinds), parts of each held-out photograph."""

    prompts: int = 48
    edits: int = 24
    parts: int = 4


def examine(run: Path, manifest: Manifest, length: Length) -> Path:
    """Asks the network of `run`, adds the scores to its summary, and returns the sheet.

    Photographs are damaged by the recipes of `manifest`, with its options.
    """
    from omnigen.generate.pipeline import OmniGenPipeline

    pipeline = OmniGenPipeline.from_pretrained(run)
    size = pipeline.max_side
    drawn = answer(pipeline, prompts(length.prompts, size))
    recolored = answer(pipeline, recolorings(length.edits, size))
    painted = {things: answer(pipeline, paintings(length.edits, size, things)) for things in (1, 2)}
    photographs = held_out_parts(size, length.parts)
    recipes = restorations(manifest)
    restored = [
        one
        for recipe in recipes
        if not is_colorization(recipe)
        for one in repair(pipeline, repairs(recipe, photographs))
    ]
    colorized = [
        one for recipe in recipes if is_colorization(recipe) for one in repair(pipeline, repairs(recipe, photographs))
    ]
    scenes = {**prompt_scores(drawn), **recoloring_scores(recolored)}
    for things, answers in painted.items():
        scenes |= {f"painted_of_{things}": right_share(answers), f"painting_overlap_of_{things}": mean_overlap(answers)}
    found = {"restored": restoration_scores(restored), "colorized": colorization_scores(colorized)}
    add_to_summary(run, scenes=scenes, photographs=found)
    sections = [
        *prompt_sections(drawn[:: max(1, len(drawn) // 24)], f"{describe_training(run)}; nothing below was among them"),
        edit_section("Held-out scenes recolored", recolored[:9]),
        edit_section("The thing painted blue, of one", painted[1][:6]),
        edit_section("The thing painted blue, of two", painted[2][:6]),
        restoration_section(restored[:: max(1, len(restored) // SHOWN)]),
        colorization_section(colorized[:SHOWN]),
    ]
    path = run / "samples" / "exam.png"
    write_sheet(path, sections)
    return path


def restorations(manifest: Manifest) -> list[Restoration]:
    """Returns the recipes of a manifest that damage photographs."""
    made = [stage.made_recipe() for stage in manifest.stages if isinstance(stage, MaterializeStage)]
    return [recipe for recipe in made if isinstance(recipe, Restoration)]


def lines(summary: Mapping[str, Any]) -> list[str]:
    """Returns the scores of a summary in lines, each with what was hoped for."""
    scenes, restored, colorized = summary["scenes"], *(summary["photographs"][k] for k in ("restored", "colorized"))
    return [
        f"{scenes['prompts']} held-out prompts: color, side and shape right in {scenes['color_side_and_shape']:.0%} "
        f"(wanted 80%); color and side in {scenes['color_and_side']:.0%}, of pairs never trained on "
        f"{scenes['color_and_side_of_unseen_pairs']:.0%}",
        f"{scenes['edits']} recolorings: the right color over the thing in {scenes['recolored']:.0%} (wanted 70%), "
        f"mean IoU {scenes['overlap']:.2f}",
        f"Painted blue: mean IoU {scenes['painting_overlap_of_1']:.2f} of one thing, "
        f"{scenes['painting_overlap_of_2']:.2f} of two (wanted 0.50)",
        f"{restored['photographs']} damaged photographs, {restored['input']:.1f} dB: restored to "
        f"{restored['restored']:.1f} dB, {restored['gain']:+.1f} dB (wanted +3.0; the codec alone gives "
        f"{restored['codec_alone']:.1f} dB)",
        f"{colorized['photographs']} gray photographs: distance in chroma {colorized['gray']:.1f} gray, "
        f"{colorized['colorized']:.1f} colorized; nearer in {colorized['nearer']:.0%}",
    ]
