"""`omnigen generate`: many prompts and seeds, what a .png keeps, and the same image from it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnigen.cli import main
from omnigen.generate.metadata import read_record
from omnigen.network.config import preset
from omnigen.weights import save_model
from omnigen.weights.lora import LoraConfig, add_lora, lora_state, save_adapter
from tests.support.tiny_network import random_model

CONFIG = preset("tiny", hidden_size=64, num_heads=2, num_layers=1, intermediate_size=64, in_channels=8)
EDIT = "<img><|image_1|></img> Make it snow."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generate") / "model"
    state = random_model(CONFIG).state_dict()
    save_model(folder, CONFIG, state, tokenizer="bytes", codec="dct:8", image_size=64)
    gradient = np.linspace(0, 255, 90 * 70 * 3).astype(np.uint8).reshape(70, 90, 3)
    Image.fromarray(gradient).save(folder.parent / "input.png")
    adapted = random_model(CONFIG)
    add_lora(adapted, LoraConfig(4), seed=0)
    tensors = {name: tensor + 0.1 for name, tensor in lora_state(adapted).items()}
    save_adapter(folder.parent / "adapter", LoraConfig(4), tensors, str(folder))
    return folder


def omnigen(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code or 0  # type: ignore[return-value]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_an_image_is_generated_again_from_its_file_bit_for_bit(model: Path, tmp_path: Path) -> None:
    given = ("--prompt", EDIT, "--image", model.parent / "input.png", "--steps", 3, "--seed", 5, "--number", 3)
    adapter = ("--lora", model.parent / "adapter", "--lora-scale", 0.5, "--negative-prompt", "dark")
    assert omnigen("generate", "--model", model, *given, *adapter, "--out", tmp_path / "snow.png") == 0
    for number in (1, 2, 3):
        path = tmp_path / f"snow-{number}.png"
        again = tmp_path / f"again-{number}.png"
        assert omnigen("generate", "--from", path, "--out", again) == 0
        assert np.array_equal(pixels(path), pixels(again))
        assert read_record(path) == read_record(again)
    record = read_record(tmp_path / "snow-2.png")
    assert (record.prompt, record.options.seed, record.seeds, record.index) == (EDIT, 6, (5, 6, 7), 1)
    assert record.options.negative_prompt == "dark"
    assert record.adapters == ((str((model.parent / "adapter").resolve()), 0.5),)
    assert not np.array_equal(pixels(tmp_path / "snow-1.png"), pixels(tmp_path / "snow-2.png"))


def test_a_moved_model_is_named_and_other_weights_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(model, tmp_path / "moved")
    out = tmp_path / "cat.png"
    assert omnigen("generate", "--model", moved, "--prompt", "a cat", "--steps", 1, "--out", out) == 0
    moved = moved.rename(tmp_path / "elsewhere")
    assert omnigen("generate", "--from", out, "--out", tmp_path / "x.png") == 2
    assert omnigen("generate", "--from", out, "--model", moved, "--out", tmp_path / "x.png") == 0
    assert np.array_equal(pixels(out), pixels(tmp_path / "x.png"))
    other = tmp_path / "other"
    save_model(other, CONFIG, random_model(CONFIG, 3).state_dict(), tokenizer="bytes", codec="dct:8", image_size=64)
    capsys.readouterr()
    assert omnigen("generate", "--from", out, "--model", other, "--out", tmp_path / "x.png") == 2
    assert "was generated with other weights" in capsys.readouterr().err


def test_a_changed_input_and_a_foreign_file_are_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copy(model.parent / "input.png", tmp_path / "own.png")
    given = ("--image", own, "--prompt", EDIT, "--steps", 1, "--out", tmp_path / "snow.png")
    assert omnigen("generate", "--model", model, *given) == 0
    Image.new("RGB", (64, 64)).save(own)
    assert omnigen("generate", "--from", tmp_path / "snow.png", "--out", tmp_path / "x.png") == 2
    assert "own.png has changed since" in capsys.readouterr().err
    assert omnigen("generate", "--from", own, "--out", tmp_path / "x.png") == 2
    assert "does not say how it was generated" in capsys.readouterr().err


def test_a_file_of_prompts_gives_an_image_for_each_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(model.parent / "input.png", tmp_path / "input.png")
    lines = [{"prompt": "a cat", "seed": 3}, {"prompt": EDIT, "input_images": ["input.png"], "height": 32, "width": 32}]
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    given = ("--steps", 1, "--out", tmp_path / "drawn.png", "--number", 2)
    assert omnigen("generate", "--model", model, "--prompts", file, *given) == 0
    names = sorted(path.name for path in tmp_path.glob("drawn-*.png"))
    assert names == ["drawn-001-1.png", "drawn-001-2.png", "drawn-002-1.png", "drawn-002-2.png"]
    assert pixels(tmp_path / "drawn-002-1.png").shape == (32, 32, 3)
    assert read_record(tmp_path / "drawn-001-2.png").options.seed == 4
    assert omnigen("generate", "--model", model, "--prompt", "a cat", "--steps", 1, "--seed", 3, "--number", 2,
                   "--out", tmp_path / "cat.png") == 0  # fmt: skip
    assert np.array_equal(pixels(tmp_path / "cat-1.png"), pixels(tmp_path / "drawn-001-1.png"))
    capsys.readouterr()
    file.write_text('{"prompt": "a cat", "stepz": 3}\n')
    assert omnigen("generate", "--model", model, "--prompts", file, *given) == 2
    error = capsys.readouterr().err
    assert "prompts.jsonl:1" in error
    assert "stepz" in error


def test_what_contradicts_is_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", tmp_path / "x.png")
    for given, message in (
        (("--model", model), "give --prompt, --prompts FILE or --from"),
        (("--prompt", "a"), "--model: missing"),
        (("--from", "x.png", "--prompt", "a"), "leave the others out"),
        (("--model", model, "--prompt", "a", "--guidance-end", 2), "is not in the range"),
    ):
        assert omnigen("generate", *given, *out) == 2
        assert message in capsys.readouterr().err
