"""The page on fine-tuning works as written, from photographs to pictures, on a tiny stand-in for published weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import REPOSITORY
from tests.support.forked import run_forked
from tests.support.model_folders import published
from tests.support.pages import blocks, commands, typed
from tests.support.training_runs import environment
from tests.support.training_shards import NAMES, photograph

pytestmark = pytest.mark.timeout(900)  # the fixture types all commands of the page
QUICK = {
    "train": ("--steps", "12", "--set", "data.max_side=64", "--set", "log.sample_every=0", "--set", "data.workers=0"),
    "generate": ("--steps", "2", "--height", "64", "--width", "64", "--device", "cpu"),
}
"""What a test leaves out of the page's work: most of the steps, and of the pixels."""


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    if words[0] == "x2i":
        return typed(words, folder, "--executor", "inline")
    quick = () if "--from" in words else QUICK.get(words[1], ())
    if "--class-prompt" in words:
        quick = (*quick, "--class-steps", "1")
    return run_forked(words, *quick, folder=folder)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have been typed."""
    folder = tmp_path_factory.mktemp("reader")
    published(folder / "OmniGen-v1")
    (folder / "photos").mkdir()
    for name in NAMES:
        Image.fromarray(photograph(name, 96, 96)).save(folder / "photos" / f"{name}.png")
        (folder / "photos" / f"{name}.txt").write_text(f"sks, a {name}")
    for words in commands("finetune.md"):
        done = run(words, folder)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_every_photograph_becomes_a_sample_with_its_own_words(followed: Path) -> None:
    summary = json.loads((followed / "runs" / "mine" / "summary.json").read_text())
    assert summary["training_samples"] + summary["held_out_samples"] == len(NAMES)
    assert summary["steps"] == 12
    assert summary["trained_parameters"] < summary["parameters"] / 10


def test_the_adapter_changes_the_picture_and_merged_equals_adapter(followed: Path) -> None:
    words = next(words for words in commands("finetune.md") if words[1] == "generate")
    plain = ["OmniGen-v1" if word == "runs/mine" else word.replace("drawn", "plain") for word in words]
    assert run(plain, followed).returncode == 0
    for number in (1, 2):
        drawn, merged = pixels(followed / f"drawn-{number}.png"), pixels(followed / f"merged-{number}.png")
        assert drawn.shape == (64, 64, 3)
        assert np.abs(drawn - merged).max() <= 1
        assert np.abs(drawn - pixels(followed / f"plain-{number}.png")).max() > 1
    assert not np.array_equal(pixels(followed / "drawn-1.png"), pixels(followed / "drawn-2.png"))


def test_the_picture_is_drawn_again_bit_for_bit(followed: Path) -> None:
    assert np.array_equal(pixels(followed / "drawn-1.png"), pixels(followed / "again.png"))


def test_a_wrong_base_is_refused(followed: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    other = published(tmp_path / "other")
    state = load_file(other / "model.safetensors")
    name = "llm.layers.0.self_attn.qkv_proj.weight"
    save_file({**state, name: state[name] + torch.tensor(0.01)}, other / "model.safetensors")
    adapter = followed / "runs" / "mine" / "adapter"
    drawing = ["omnigen", "generate", "--model", str(other), "--lora", str(adapter), "--prompt", "a cat"]
    beside = "beside other weights than those"
    training = ["omnigen", "train", "--init", str(other), "--data", "data", "--out", "runs/mine"]
    for words, message in (
        ([*drawing, "--out", str(tmp_path / "x.png")], beside),
        (["omnigen", "merge", str(other), str(adapter), str(tmp_path / "merged")], beside),
        (training, beside),
    ):
        done = run(words, followed)
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert message in done.stderr
    assert run([*drawing, "--any-base", "--out", str(tmp_path / "x.png")], followed).returncode == 0


def test_the_page_s_python_runs(followed: Path) -> None:
    (code,) = [text for language, text in blocks("finetune.md") if language == "python"]
    code = code.replace("num_inference_steps=50", "num_inference_steps=1, height=32, width=32")
    paths = {**environment(), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], cwd=followed, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pixels(followed / "python.png").shape == (32, 32, 3)
