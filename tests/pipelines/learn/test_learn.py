"""`make learn`, with tiny numbers: its manifest builds, its configuration trains, and its exam is held."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from omnigen.train.run import train
from pipelines.learn.examine import Length, examine, lines
from pipelines.learn.photographs import HELD_OUT, held_out_parts, write_training_parts
from pipelines.manifest import CONFIGURATIONS, find_manifest, load_manifest
from tests.support.command_line import typed
from x2i.store import Dataset

SCENES = "scenes:{}?seed=1&size=32&most={}&kinds=shapes&textures=0&pairs=seen"
TINY = (
    "phases=[{steps: 1}]", "train.packs_per_step=1", "train.warmup=0", "data.max_side=32", "log.validation_samples=2",
    "model.overrides={hidden_size: 32, num_layers: 1, num_heads: 2, intermediate_size: 64, pos_embed_max_size: 2}",
)  # fmt: skip


def test_the_manifest_builds_the_configuration_trains_and_the_exam_is_held(tmp_path: Path) -> None:
    """A step teaches nothing; that the parts fit together is what this is about."""
    assert write_training_parts(tmp_path / "photographs", 32, parts=1) > 8
    sources = json.dumps([SCENES.format(6, 1), SCENES.format(6, 2), str(tmp_path / "photographs")])
    sets = [f"crawl.sources={sources}", "crawl.min_side=32", "materialize.max_side=32"]
    options = [part for one in sets for part in ("--set", one)]
    assert typed("build", "learn", "--out", tmp_path / "d", "--executor", "inline", *options) == 0
    config = CONFIGURATIONS / "learn.yaml"
    weights = yaml.safe_load(config.read_text())["phases"][-1]["weights"]
    tasks = {name.rsplit("-", 2)[0] for name in (shard.name for shard in Dataset.open(tmp_path / "d").shards())}
    assert tasks == set(weights), "what is trained on is what is made"
    train(config, [f"data.shards=[{tmp_path / 'd'}]", *TINY], out=tmp_path / "run")
    manifest = load_manifest(find_manifest(Path("learn")), [])
    sheet = examine(tmp_path / "run", manifest, Length(prompts=2, edits=2, parts=1))
    assert sheet.is_file()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["scenes"]["prompts"] == 2
    assert summary["photographs"]["restored"]["photographs"] > 0
    assert all(lines(summary))


def test_no_part_of_a_held_out_photograph_is_trained_on(tmp_path: Path) -> None:
    write_training_parts(tmp_path, 16, parts=1)
    written = {path.name.rpartition("-")[0] for path in tmp_path.iterdir()}
    assert written
    assert not written & {Path(name).stem for name in HELD_OUT}
    assert len(held_out_parts(16, 2)) == 2 * len(HELD_OUT)
