"""The command line: `omnigen generate` from a run folder to a picture, and what it says about mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from omnigen.cli import main
from omnigen.network.config import preset
from omnigen.weights import load_model, save_model
from tests.support.tiny_network import random_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run's folder with an exported model, and an input image beside it."""
    folder = tmp_path_factory.mktemp("run")
    config = preset("tiny", hidden_size=64, num_heads=2, num_layers=1, intermediate_size=64, in_channels=8)
    state = random_model(config).state_dict()
    save_model(folder / "model", config, state, tokenizer="bytes", codec="dct:8", image_size=64)
    gradient = np.linspace(0, 255, 90 * 70 * 3).astype(np.uint8).reshape(70, 90, 3)
    Image.fromarray(gradient).save(folder / "input.png")
    return folder


def omnigen(*arguments: object) -> int:
    """Runs the command line in this process; returns its exit status."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code or 0  # type: ignore[return-value]


def test_a_run_draws_a_picture_of_the_size_it_was_trained_at(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    assert omnigen("generate", "--model", run, "--prompt", "a cat", "--steps", 2, "--out", out) == 0
    assert Image.open(out).size == (64, 64)


def test_an_edit_takes_the_size_of_its_image_and_any_format(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "snow.jpg"
    prompt = "<img><|image_1|></img> Make it snow."
    arguments = ("--image", run / "input.png", "--prompt", prompt, "--steps", 1, "--image-guidance", 0, "--out", out)
    assert omnigen("generate", "--model", run / "model", *arguments) == 0
    picture = Image.open(out)
    assert (picture.format, picture.size) == ("JPEG", (64, 48))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "a cat", "--out", "cat.gif"], "ends in .png"),
        (["--prompt", "Make it snow.", "--image", "{run}/input.png", "--out", "{out}"], "<img><|image_1|></img>"),
        (["--prompt", "a cat", "--image", "{run}/none.png", "--out", "{out}"], "No such file"),
        (["--prompt", "a cat", "--image", "{run}/model/config.json", "--out", "{out}"], "not a readable image"),
        (["--prompt", "a cat", "--height", "50", "--out", "{out}"], "multiple of 16"),
        (["--prompt", "a cat", "--height", "0", "--out", "{out}"], "height: found 0, expected a multiple of 16"),
        (["--prompt", "a cat", "--seed", str(2**32), "--out", "{out}"], "is not in the range"),
        (["--prompt", "a cat", "--guidance", "nan", "--out", "{out}"], "guidance: found nan, expected a number"),
        (["--prompt", "a cat", "--out", "{run}/model/config.json/x.png"], "give another name"),
        (["--prompt", "a cat", "--device", "meta", "--out", "{out}"], "--device meta: holds no numbers"),
        (["--prompt", f"<|image_{'9' * 5000}|>", "--out", "{out}"], "a number of 5000 digits"),
        (["--prompt", "a cat \udcff", "--out", "{out}"], "--prompt: not UTF-8 from character 7 on"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    filled = [argument.replace("{run}", str(run)).replace("{out}", str(tmp_path / "x.png")) for argument in arguments]
    assert omnigen("generate", "--model", run, *filled) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_picture_that_cannot_be_written_is_told_before_it_is_drawn(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat.png").mkdir()
    assert omnigen("generate", "--model", run, "--prompt", "a cat", "--out", tmp_path / "cat.png") == 2
    error = capsys.readouterr().err
    assert "cat.png: is a folder; give another name" in error
    assert "drawing" not in error


def edited(run: Path, folder: Path, **changes: object) -> Path:
    shutil.copytree(run / "model", folder)
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, **changes}))
    return folder


def test_a_codec_or_a_tokenizer_that_does_not_fit_the_network_is_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = edited(run, tmp_path / "codec", codec="dct:12")
    assert omnigen("generate", "--model", other, "--prompt", "a", "--out", tmp_path / "x.png") == 2
    assert "its codec dct:12 has 12 channels, its network takes 8" in capsys.readouterr().err
    config = preset(
        "tiny", hidden_size=64, num_heads=2, num_layers=1, intermediate_size=64, in_channels=8, vocab_size=9
    )
    save_model(tmp_path / "ids", config, random_model(config).state_dict(), tokenizer="bytes", codec="dct:8")
    assert omnigen("generate", "--model", tmp_path / "ids", "--prompt", "a", "--out", tmp_path / "x.png") == 2
    assert "its tokenizer bytes has 272 ids, its network knows 9" in capsys.readouterr().err


def test_an_input_larger_than_the_network_has_positions_for_is_shrunk(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_heads": 2, "num_layers": 1, "intermediate_size": 64, "in_channels": 8}
    config = preset("tiny", **sizes, pos_embed_max_size=4)
    save_model(tmp_path / "m", config, random_model(config).state_dict(), tokenizer="bytes", codec="dct:8")
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    options = ("--image", tmp_path / "red.png", "--prompt", "<|image_1|>", "--steps", 1, "--out", tmp_path / "x.png")
    assert omnigen("generate", "--model", tmp_path / "m", *options) == 0
    assert Image.open(tmp_path / "x.png").size == (64, 32)


def test_weights_in_several_dtypes_are_drawn_with_in_the_widest(run: Path, tmp_path: Path) -> None:
    mixed = edited(run, tmp_path / "mixed")
    state = load_file(mixed / "model.safetensors")
    state["llm.embed_tokens.weight"] = state["llm.embed_tokens.weight"].bfloat16()
    save_file(state, mixed / "model.safetensors")
    assert omnigen("generate", "--model", mixed, "--prompt", "a", "--steps", 1, "--out", tmp_path / "x.png") == 0
    model = load_model(mixed).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_folder_without_a_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert omnigen("generate", "--model", tmp_path, "--prompt", "a", "--out", tmp_path / "x.png") == 2
    assert "expected the folder of a training run" in capsys.readouterr().err
    assert omnigen("generate", "--model", tmp_path / "OmniGen-v1", "--prompt", "a", "--out", tmp_path / "x.png") == 2
    assert "hf download Shitao/OmniGen-v1" in capsys.readouterr().err
    (tmp_path / "checkpoints").mkdir()
    assert omnigen("generate", "--model", tmp_path, "--prompt", "a", "--out", tmp_path / "x.png") == 2
    assert "no exported model yet" in capsys.readouterr().err


def test_help_is_light() -> None:
    code = "import sys, omnigen.cli; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
