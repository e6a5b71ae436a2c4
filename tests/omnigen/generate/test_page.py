"""The page of `omnigen ui` in a real browser, on a tiny network."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnigen.generate.metadata import read_record
from omnigen.weights import save_model
from tests.support import REPOSITORY
from tests.support.chromium import CHROMIUM, open_tab
from tests.support.tiny_network import CONFIG, random_model
from tests.support.training_runs import environment

pytest.importorskip("gradio", reason="needs gradio, which wants pillow below 13: make test-ui")
PROMPT = "<img><|image_1|></img> beside <img><|image_2|></img> in the snow"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, an adapter for it, and two pictures."""
    from omnigen.weights.lora import LoraConfig, add_lora, lora_state, save_adapter

    root = tmp_path_factory.mktemp("page")
    model = random_model(replace(CONFIG, in_channels=6))
    save_model(root / "model", model.config, model.state_dict(), tokenizer="bytes", codec="dct:6", image_size=32)
    add_lora(model, LoraConfig(2), 0)
    state = {name: tensor + 0.3 for name, tensor in lora_state(model).items()}
    save_adapter(root / "style", LoraConfig(2), state, "model")
    for number in (1, 2):
        pixels = np.random.Generator(np.random.Philox(number)).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"picture-{number}.png")
    return root


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    words = "ui --model model --lora style --any-base --out drawn --port 0 --device cpu"
    paths = {**environment(), "PYTHONPATH": str(REPOSITORY), "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, "-m", "omnigen.cli", *words.split()]
    with subprocess.Popen(command, cwd=folder, env=paths, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        found = re.search(r"http://\S+/", said)
        assert found, said
        yield found.group()
        server.terminate()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_prompt_with_two_images_is_drawn_and_its_record_read_back(folder: Path, address: str, tmp_path: Path) -> None:
    async def visit() -> None:
        async with open_tab(address, tmp_path / "profile") as tab:
            for number in (1, 2):
                await tab.choose_file(f"#image_{number} input[type=file]", folder / f"picture-{number}.png")
                await tab.until(f"!!document.querySelector('#image_{number} img')")
            await tab.click("#place_1")
            prompt = "document.querySelector('#prompt textarea').value"
            await tab.until(f"{prompt} === '<img><|image_1|></img>'")
            await tab.type("#prompt textarea", "<img><|image_1|></img> beside  in the snow")
            await tab.run("document.querySelector('#prompt textarea').setSelectionRange(30, 30)")
            await tab.click("#place_2")
            await tab.until(f"{prompt} === {PROMPT!r}")
            await tab.run("document.querySelector('button.label-wrap').click()")
            for name, value in (("steps", "3"), ("seed", "7")):
                await tab.type(f"#{name} input", value)
            await tab.click("#generate")
            await tab.until("document.querySelectorAll('#gallery img').length > 0")
            await tab.until("document.querySelector('#record').innerText.includes('weights')")
            await tab.until("document.querySelector('#gallery img').naturalWidth > 0")

    asyncio.run(visit())
    drawn = sorted((folder / "drawn").glob("*.png"))
    record = read_record(drawn[-1])
    assert (record.prompt, record.options.steps, record.seeds) == (PROMPT, 3, (7,))
    assert len(record.images) == 2
    pixels = np.asarray(Image.open(drawn[-1]))
    command = ["generate", "--from", str(drawn[-1]), "--out", str(tmp_path / "again.png")]
    paths = {**environment(), "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-m", "omnigen.cli", *command], cwd=folder, env=paths, check=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), pixels)
    (tmp_path / "copy.png").write_bytes(drawn[-1].read_bytes())

    async def read() -> None:
        async with open_tab(address, tmp_path / "profile-2") as tab:
            await tab.choose_file("#again input[type=file]", tmp_path / "copy.png")
            await tab.until(f"document.querySelector('#prompt textarea').value === {PROMPT!r}")

    asyncio.run(read())


def test_adapters_are_chosen_and_mistakes_are_told(folder: Path, tmp_path: Path) -> None:
    from omnigen.generate.loading import Loading
    from omnigen.generate.page import OPTIONS, Studio, build_page
    from x2i.errors import UserError

    studio = Studio(folder / "model", [folder / "style"], tmp_path / "out", any_base=True, loading=Loading("cpu"))
    build_page(studio)
    values = [{"steps": 2, "seed": 1}.get(each.name) for each in OPTIONS]
    *previews, plain = studio.draw("a cat", [], "", 1.0, 2, values)
    assert len(previews) == 1
    assert previews[0][0].shape == (32, 32, 3)
    *_, styled = studio.draw("a cat", [None], str(folder / "style"), 0.5, 1, values)
    assert read_record(Path(styled[0])).adapters == ((str(folder / "style"), 0.5),)
    assert not np.array_equal(np.asarray(Image.open(plain[0])), np.asarray(Image.open(styled[0])))
    typed = [{"steps": 1, "height": "48", "width": "48"}.get(each.name, "") for each in OPTIONS]
    *_, sized = studio.draw("a cat", [], "", 1.0, 1, typed)
    assert Image.open(sized[0]).size == (48, 48)
    with pytest.raises(UserError, match="height: expected a number, found 'tall'"):
        list(studio.draw("a cat", [], "", 1.0, 1, ["tall" if each.name == "height" else None for each in OPTIONS]))
    with pytest.raises(UserError, match="marks 1 image"):
        list(studio.draw("<img><|image_1|></img>", [], "", 1.0, 1, values))
