"""The manifest of the models from the Hub, with tiny networks of random weights in their place, killed on its way."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.demo.server import serve_site, site_address
from pipelines.demo.site import write_site
from tests.support import REPOSITORY, tiny_detectors, tiny_models
from tests.support.command_line import file_sums
from tests.support.forked import ForkedCommand, run_forked
from x2i.store import Dataset
from x2i.store.verify.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("X2I_KILLS", "2"))
"""How often the build is killed before it may end; X2I_KILLS=10 for more."""
X2I = str(Path(sys.executable).with_name("x2i"))


def local(folder: Path) -> dict[str, str]:
    """Returns the names of the manifest's models -> those of tiny ones, which are saved into `folder`."""
    vlm = tiny_models.save_vision_language_model(folder / "vlm")
    settings = json.loads((vlm / "generation_config.json").read_text())
    settings["eos_token_id"] = [settings["eos_token_id"], *range(1, 256, 6)]  # of itself it hardly comes to an end
    (vlm / "generation_config.json").write_text(json.dumps(settings))
    return {
        "hf:HuggingFaceTB/SmolVLM-256M-Instruct": f"hf:{vlm}",
        "open_clip:ViT-B-32/laion2b_s34b_b79k": f"open_clip:{tiny_models.save_open_clip_model(folder / 'clip')}",
        "hf:IDEA-Research/grounding-dino-tiny": f"hf:{tiny_detectors.save_grounding_dino(folder / 'dino')}",
        "hf:facebook/sam2.1-hiera-tiny": f"hf:{tiny_detectors.save_sam2(folder / 'sam2')}",
        "hf:depth-anything/Depth-Anything-V2-Small-hf": f"hf:{tiny_models.save_depth_model(folder / 'depth')}",
        "hf:facebook/dinov2-small": f"hf:{tiny_models.save_dinov2(folder / 'dinov2')}",
    }


def named(text: str) -> set[str]:
    """Returns the models of the Hub or of open_clip that a manifest names."""
    return {
        value
        for step in yaml.safe_load(text)["steps"]
        for options in step.values()
        for value in (options or {}).values()
        if isinstance(value, str) and value.startswith(("hf:", "open_clip:"))
    }


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Iterator[Path]:
    """The manifest, with small pages as its source and tiny networks for its models."""
    folder = tmp_path_factory.mktemp("models")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = site_address(probe.getsockname()[1])
    write_site(folder / "site", address)
    text = (REPOSITORY / "manifests/models.yaml").read_text()
    tiny = local(folder)
    assert named(text) == set(tiny)
    for name, own in tiny.items():
        text = text.replace(name, own)
    document = yaml.safe_load(text)
    steps = {name: options for step in document["steps"] for name, options in step.items()}
    pages = ("things", "animals")
    steps["crawl"] |= {"sources": [f"{address}/{page}.html" for page in pages], "max_side": 128, "partition_size": 4}
    steps["detect"] |= {"set": {"threshold": 0.05}}
    for step in document["steps"]:
        if step.get("caption", {}).get("column") == "captions_model":
            step["caption"]["set"] = {"max_tokens": 8, "prompt": "What?"}
        if "text" in step:
            step["text"] = {"set": {"short_side": 128}}
    steps["materialize"]["select"] |= {"described": "best_caption.score IS NOT NULL", "resolution": "TRUE"}
    document["inspect"], document["train"] = None, None
    (folder / "models.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    with serve_site(folder / "site", int(address.rpartition(":")[2])):
        yield folder / "models.yaml"


def command(manifest: Path, out: Path) -> list[object]:
    return ["x2i", "build", manifest, "--out", out, "--executor", "inline", "--no-train"]


def build(manifest: Path, out: Path) -> None:
    done = run_forked(command(manifest, out), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "data"
    build(manifest, out)
    return out


def test_every_model_says_something_and_every_selection_counts(whole):
    assert verify(whole).ok
    dataset = Dataset.open(whole)
    images = dataset.images(["key", "status"]).to_pylist()
    kept = sum(row["status"] == "ok" for row in images)
    for column in ("similarity", "depth", "embeddings", "best_caption", "captions_model"):
        assert dataset.column(column).num_rows == kept, column
    told = dataset.column("captions_model")["caption"]
    assert told.null_count < len(told)
    chosen = dataset.query("""
        SELECT b.score, greatest(coalesce(s.score, -9), coalesce(m.score, -9)) FROM best_caption b
        JOIN similarity s USING (key) JOIN similarity_model m USING (key) WHERE b.score IS NOT NULL
    """).fetchall()
    assert chosen
    assert all(score == pytest.approx(best) for score, best in chosen)
    assert dataset.column("entities").num_rows
    assert dataset.column("entity_embeddings").num_rows
    assert {sample.task for sample, _ in dataset.samples()} >= {"text_to_image", "depth_to_image", "image_to_depth"}


def test_a_build_that_is_killed_again_and_again_ends_with_the_same_bytes(manifest, whole, tmp_path):
    wanted, out = file_sums(whole), tmp_path / "data"
    total = len(list(whole.glob("commits/*/*.json")))
    for number in range(KILLS):
        process = ForkedCommand(command(manifest, out))
        target = (number + 1) * total // (KILLS + 1)
        while process.poll() is None and len(list(out.glob("commits/*/*.json"))) < target:
            time.sleep(0.02)
        assert process.poll() is None, "it was finished before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert file_sums(out) != wanted
    build(manifest, out)
    assert file_sums(out) == wanted


def test_a_score_that_is_added_runs_alone(manifest, whole, tmp_path):
    more = manifest.parent / "more.yaml"
    document = yaml.safe_load(manifest.read_text())
    scorer = f"hf:{tiny_models.save_siglip(manifest.parent / 'siglip')}"
    document["steps"].insert(2, {"image_text": {"column": "similarity_siglip", "model": scorer, "text": "captions"}})
    more.write_text(yaml.safe_dump(document, sort_keys=False))
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("commits/*/*.json")}
    build(more, whole)
    after = {path: path.stat().st_mtime_ns for path in whole.rglob("commits/*/*.json")}
    assert {path: after[path] for path in before} == before
    assert {path.parent.name for path in set(after) - set(before)} == {"similarity_siglip"}
