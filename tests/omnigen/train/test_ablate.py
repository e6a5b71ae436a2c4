from __future__ import annotations

import json

import pytest
import torch
import yaml

from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.train.objective import copied_share
from tests.support.forked import run_forked
from tests.support.training_runs import environment, write_config


def test_a_copy_and_an_edit_are_told_apart_where_something_changes():
    source, target = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4)
    target[:, :2] = 1.0
    assert copied_share(source, target, source) == 1.0
    assert copied_share(target, target, source) == 0.0
    half = source.clone()
    half[0, :2] = 0.9
    assert copied_share(half, target, source) == 0.5
    assert copied_share(source, source, source) is None


def test_a_causal_layout_lets_image_tokens_see_only_what_comes_before():
    layout = PackLayout.build(
        [SampleLayout(((5, 6), (7,)), (Grid(2, 2),), Grid(2, 1)), SampleLayout(((5,),), (), Grid(1, 1))]
    )
    causal = layout.with_causal_images()
    assert causal.hi_T.tolist() == list(range(1, layout.num_tokens + 1))
    assert causal.lo_T.tolist() == layout.lo_T.tolist()
    assert all(segment.causal for segment in causal.segments)
    assert layout.hi_T.tolist() != causal.hi_T.tolist()


@pytest.mark.slow
def test_every_arm_is_trained_once_and_the_table_tells_them_apart(shards, tmp_path):
    write_config(tmp_path / "base.yaml", shards, train={"steps": 2}, log={"sample_every": 0})
    comparisons = [
        {"name": "weighting", "question": "?", "better": "on", "measure": "copy_rate", "tasks": ["denoise"],
         "common": {"data.weights": {"denoise": 1, "colorize": 1}, "train.steps": 3},
         "arms": {"on": {"train.edit_weighting": True}, "off": {"train.edit_weighting": False}}},
        {"name": "images", "question": "?", "better": "whole", "tasks": ["colorize"],
         "arms": {"whole": {}, "causal": {"model.image_attention": "causal"}}},
        {"name": "shared", "question": "?", "better": "whole", "arms": {"whole": {}}},
        {"name": "start", "question": "?", "better": "phi3", "needs": "phi3", "arms": {"phi3": {"model.init": "PHI3"}}},
    ]  # fmt: skip
    path = tmp_path / "ablations.yaml"
    path.write_text(yaml.safe_dump({"base": "base.yaml", "comparisons": comparisons}, sort_keys=False))
    command = ["omnigen", "ablate", str(path), "--out", str(tmp_path / "out")]
    first = run_forked(command, environment=environment())
    assert first.returncode == 0, first.stderr
    assert "start: left out" in first.stdout
    outcomes = json.loads((tmp_path / "out" / "ablations.json").read_text())["outcomes"]
    assert [(o["comparison"], o["arm"]) for o in outcomes] == [
        ("weighting", "on"), ("weighting", "off"), ("images", "whole"), ("images", "causal"), ("shared", "whole"),
    ]  # fmt: skip
    for outcome in outcomes[:2]:
        summary = json.loads((tmp_path / "out" / "weighting" / f"{outcome['arm']}-0" / "summary.json").read_text())
        assert outcome["values"] == [summary["validation"]["trained"]["copy_rates"]["denoise"]]
        assert 0 <= outcome["values"][0] <= 1
        assert summary["steps"] == 3, "a comparison's own common settings count"
    assert outcomes[2]["values"] != outcomes[3]["values"]
    assert len(list((tmp_path / "out").glob("*/*/summary.json"))) == 4, "an arm that two comparisons share is one run"
    assert not (tmp_path / "out" / "images" / "causal-0" / "model").exists()
    again = run_forked(command, environment=environment())
    assert again.stdout.count("nothing to do") == 5
    assert again.stdout.splitlines()[-10:] == first.stdout.splitlines()[-10:]
