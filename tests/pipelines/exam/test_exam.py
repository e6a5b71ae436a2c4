"""Exams: exact pictures score all, empty ones nothing, and the scores are what the run's summary holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnigen.codecs.base import load_codec
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.network.config import preset
from omnigen.network.model import OmniGen
from omnigen.tokenizer import ByteTokenizer
from pipelines.demo.__main__ import _examine
from pipelines.exam.asking import add_to_summary
from pipelines.exam.photographs import Repaired, colorization_scores, repair, repairs, restoration_scores
from pipelines.exam.scenes import (
    answer,
    judged,
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
from tests.support.command_line import typed
from x2i.recipes import make_recipe
from x2i.scenes.scene import Pairs, are_drawn

SHARES = ("color", "side", "shape", "background", "color_and_side", "color_side_and_shape")


def test_exact_pictures_score_all_and_empty_ones_nothing(tmp_path: Path) -> None:
    drawn, edited, painted = prompts(8, 64), recolorings(6, 64), [*paintings(3, 64, 1), *paintings(3, 64, 2)]
    exact = [[judged(one, one.wanted) for one in asked] for asked in (drawn, edited, painted)]
    found = {**prompt_scores(exact[0]), **recoloring_scores(exact[1])}
    assert [found[name] for name in (*SHARES, "recolored")] == [1.0] * (len(SHARES) + 1)
    assert right_share(exact[2]) == 1.0
    empty = [[judged(one, np.full_like(one.wanted, 250)) for one in asked] for asked in (drawn, edited, painted)]
    assert [prompt_scores(empty[0])[name] for name in SHARES] == [0.0] * len(SHARES)
    assert (right_share(empty[1]), right_share(empty[2])) == (0.0, 0.0)
    unchanged = [judged(one, one.inputs[0]) for one in (*edited, *painted)]
    assert right_share(unchanged) == 0
    write_sheet(tmp_path / "sheet.png", [*prompt_sections(exact[0], "in one step"), edit_section("Edits", exact[1])])
    assert Image.open(tmp_path / "sheet.png").size[0] > 6 * 128
    (tmp_path / "summary.json").write_text('{"steps": 1}')
    add_to_summary(tmp_path, scenes=found)
    assert json.loads((tmp_path / "summary.json").read_text()) == {"steps": 1, "scenes": found}


def test_of_two_things_the_named_one_is_to_be_painted() -> None:
    for one in paintings(6, 64, 2):
        other = np.any(one.wanted != one.inputs[0], -1)
        assert np.array_equal(other, one.mask)
        assert one.thing.kind in one.instruction
        assert one.thing.color in one.instruction


def test_photographs_are_judged_by_what_is_gained_over_their_damage(tmp_path: Path) -> None:
    photographs = held_out_parts(32, 1)
    asked = repairs(make_recipe("denoise", {"kinds": ["gaussian"], "sigma": [50, 60]}), photographs)
    exact, copied = ([Repaired(one, picture, one.given) for one, picture in zip(asked, pictures)]
                     for pictures in ([one.wanted for one in asked], [one.given for one in asked]))  # fmt: skip
    assert restoration_scores(copied)["gain"] == 0
    assert restoration_scores(exact)["gain"] > 50
    gray = repairs(make_recipe("colorize", {}), photographs)
    assert 0 < len(gray) < len(photographs), "gray photographs are not fit to be colorized"
    colored, left = ([Repaired(one, picture, one.given) for one, picture in zip(gray, pictures)]
                     for pictures in ([one.wanted for one in gray], [one.given for one in gray]))  # fmt: skip
    assert (colorization_scores(colored)["colorized"], colorization_scores(colored)["nearer"]) == (0, 1)
    assert colorization_scores(left)["nearer"] == 0
    write_sheet(tmp_path / "sheet.png", [restoration_section(exact), colorization_section(colored)])


def test_half_of_the_prompts_are_of_pairs_that_are_never_trained_on() -> None:
    asked = prompts(12, 32)
    assert [one.pairs for one in asked] == [Pairs.SEEN] * 6 + [Pairs.UNSEEN] * 6
    assert all(are_drawn(one.pairs, one.thing.kind, one.thing.color) for one in asked)
    assert all(one.thing.color in one.instruction and one.thing.kind in one.instruction for one in asked)


def test_a_network_is_asked_for_every_picture(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "intermediate_size": 64, "in_channels": 6}
    model = OmniGen.initialized(preset("tiny", **sizes), 0).eval()
    pipeline = OmniGenPipeline(model, ByteTokenizer(), load_codec("wavelet:4+1+1"), 32)
    for asked in (prompts(2, 32), recolorings(1, 32)):
        answers = answer(pipeline, asked)
        assert [one.question for one in answers] == asked
        assert all(one.picture.shape == (32, 32, 3) for one in answers)
    repaired = repair(pipeline, repairs(make_recipe("brighten_low_light", {}), held_out_parts(32, 1)))
    assert all(one.picture.shape == one.passed.shape == (32, 32, 3) for one in repaired)


@pytest.mark.slow
def test_the_manifest_of_scenes_trains_a_network_that_can_be_examined(tmp_path: Path) -> None:
    """Two steps learn nothing; that the parts fit together is what this is about."""
    scenes = "scenes:24?seed=1&size=32&most=1&kinds=shapes&textures=0&pairs=seen"
    sets = [f'crawl.sources=["{scenes}"]', "materialize.max_side=32"]
    sets += ["train.set={train.steps: 2, data.max_side: 32, data.validation_fraction: 0.2, log.validate_every: 0}"]
    options = [part for one in sets for part in ("--set", one)]
    assert typed("build", "scenes", "--out", tmp_path / "d", "--executor", "inline", *options) == 0
    _examine(tmp_path / "d" / "run", tmp_path / "no-photographs")
    summary = json.loads((tmp_path / "d" / "run" / "summary.json").read_text())
    assert summary["scenes"]["prompts"] == 24
    assert (tmp_path / "d" / "run" / "samples" / "exam.png").is_file()
    assert typed("report", tmp_path / "d", "--html", tmp_path / "report.html") == 0
    assert "2 steps" in (tmp_path / "report.html").read_text()
