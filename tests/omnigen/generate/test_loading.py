"""Networks in few bits, offloaded or compiled draw nearly or exactly what the plain one does; forecast steps nearly."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from omnigen.cli import main
from omnigen.generate.forecast import ForecastVelocity
from omnigen.generate.metadata import read_record
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.generate.sampler import integrate, schedule
from omnigen.weights import save_model
from tests.support.tiny_network import CONFIG, random_model
from x2i.errors import UserError

SMALL = {"height": 32, "width": 48, "num_inference_steps": 4, "output_type": "latent"}
EDIT = "<img><|image_1|></img> Make it snow."
PHOTO = np.random.Generator(np.random.Philox(0)).integers(0, 256, (32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("model")
    model = random_model(replace(CONFIG, in_channels=6))
    save_model(root, model.config, model.state_dict(), tokenizer="bytes", codec="dct:6", image_size=48)
    return root


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("precision", "most"), [("int8", 0.05), ("nf4", 0.3)])
def test_a_network_of_few_bits_draws_nearly_the_same_and_the_same_again(
    folder: Path, tmp_path: Path, precision: str, most: float
) -> None:
    pytest.importorskip("bitsandbytes")
    plain = OmniGenPipeline.from_pretrained(folder, precision="bf16")(EDIT, [PHOTO], **SMALL).images[0]
    pipeline = OmniGenPipeline.from_pretrained(folder, precision=precision)
    weight = pipeline.model.llm.layers[0].mlp.down_proj.weight
    assert weight.numel() * weight.element_size() <= 192 * 256
    found = pipeline(EDIT, [PHOTO], **SMALL).images[0]
    assert 0 < difference(found, plain) < most
    drawn, again = tmp_path / "drawn.png", tmp_path / "again.png"
    for words in (
        f"generate --model {folder} --prompt cat --steps 2 --precision {precision} --out {drawn}",
        f"generate --from {drawn} --out {again}",
    ):
        with pytest.raises(SystemExit) as ended:
            main(words.split())
        assert not ended.value.code
    assert read_record(drawn).precision == precision
    assert drawn.read_bytes() == again.read_bytes()


def test_offloaded_parts_are_on_the_device_only_while_they_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[tuple[str, str]] = []
    pipeline = OmniGenPipeline.from_pretrained(folder, device="cpu", offload=True)
    for part in (pipeline.model, pipeline.codec):
        monkeypatch.setattr(
            type(part), "to", lambda self, device: moves.append((type(self).__name__, str(device))) or self
        )
    found = pipeline(EDIT, [PHOTO], **SMALL).images[0]
    monkeypatch.undo()
    codec, network = type(pipeline.codec).__name__, "OmniGen"
    assert [name for name, _ in moves] == [codec, codec, network, network]
    expected = OmniGenPipeline.from_pretrained(folder, device="cpu")(EDIT, [PHOTO], **SMALL).images[0]
    assert torch.equal(found, expected)


def test_a_forecast_computes_fewer_steps_and_a_line_errs_less_than_a_repetition(folder: Path) -> None:
    pipeline = OmniGenPipeline.from_pretrained(folder, device="cpu")
    given = {**SMALL, "num_inference_steps": 24}
    exact = pipeline(EDIT, [PHOTO], **given).images[0]
    errors = [
        difference(pipeline(EDIT, [PHOTO], cache_interval=2, cache_order=order, **given).images[0], exact)
        for order in (0, 1)
    ]
    assert 0 < errors[1] < errors[0] < 0.1
    calls: list[float] = []

    def velocity(z: torch.Tensor, t: float) -> torch.Tensor:
        calls.append(t)
        return 3 * z.new_tensor(t)

    times = schedule(12, 3.0)
    forecast = ForecastVelocity(velocity, 12, 3, 1, lambda t: t < times[6])
    end = integrate(forecast, torch.zeros(1), times)
    assert calls == [times[step] for step in (0, 1, 4, 6, 7, 10, 11)]
    assert forecast.computed == len(calls)
    assert end.item() == pytest.approx(integrate(velocity, torch.zeros(1), times).item(), rel=1e-5)  # a line is a line


def test_few_bits_without_the_library_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(UserError, match=r"nf4 needs bitsandbytes.*x2i\[quant\]"):
        OmniGenPipeline.from_pretrained(folder, precision="nf4")


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_layers_draw_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """The backend "eager" takes the same graphs from the layers, and spares the C++ compiler's minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    plain, compiled = (OmniGenPipeline.from_pretrained(folder, device="cpu", compile=each) for each in (False, True))
    expected = plain(EDIT, [PHOTO], **SMALL).images[0]
    counters.clear()
    assert difference(compiled(EDIT, [PHOTO], **SMALL).images[0], expected) < 1e-5
    assert counters["stats"]["unique_graphs"] == 2, "one before attention, one after, for prompt and targets"
