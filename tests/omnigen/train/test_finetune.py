"""`omnigen train --init FOLDER --data D`: a fine-tune without a configuration, from a folder of any layout."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from omnigen.cli import main
from omnigen.data.shards.catalog import Catalog
from omnigen.generate.options import GenerationOptions
from omnigen.train.class_pictures import draw_class_pictures
from omnigen.train.config import TrainingConfig, build_config, load_config
from omnigen.train.finetune import FULL, finetune_config, finetune_document
from omnigen.train.metrics import read_lines
from omnigen.train.resolve import VISITS_OF_ONE, resolve
from omnigen.train.run import train_settings
from omnigen.weights import load_model, save_model
from omnigen.weights.convert import convert
from omnigen.weights.lora import load_adapter, lora_state
from omnigen.weights.options import Conversion
from tests.support import REPOSITORY
from tests.support.in_process_training import go_on, training
from tests.support.model_folders import published
from tests.support.tiny_network import CONFIG, random_model
from tests.support.training_runs import write_config
from tests.support.training_shards import NAMES, make_shards, photograph
from x2i.errors import UserError

QUICK = ["data.max_side=32", "data.workers=0", "log.sample_every=0", "train.threads=1", "train.warmup=0"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("data"), ("text_to_image", "colorize"), NAMES, ((32, 32),))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network as the published folder has it, in every layout; ours was trained with a shift."""
    root = tmp_path_factory.mktemp("models")
    made = {"official": published(root / "official")}
    for layout in ("ours", "diffusers"):
        made[layout] = root / layout
        convert(made["official"], made[layout], Conversion(layout))
    return made


def omnigen(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code or 0  # type: ignore[return-value]


def tiny_ours(folder: Path, seed: int = 0, shift: float = 1.0) -> Path:
    """A folder of ours with the tokenizer and the codec that need no files."""
    from dataclasses import replace

    config = replace(CONFIG, in_channels=6)
    state = random_model(config, seed).state_dict()
    save_model(folder, config, state, tokenizer="bytes", codec="dct:6", image_size=32, timestep_shift=shift)
    return folder


@pytest.mark.parametrize("layout", ["official", "diffusers", "ours"])
def test_a_folder_of_any_layout_is_trained_without_a_configuration(
    folders: dict[str, Path], shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    given = [part for setting in QUICK for part in ("--set", setting)]
    run = tmp_path / "run"
    command = ("train", "--init", folders[layout], "--data", shards, "--out", run, "--steps", 2, *given)
    assert omnigen(*command) == 0
    said = capsys.readouterr().out
    assert f"codec sdxl:{folders[layout]}" in said
    config, state = load_adapter(run / "adapter")
    assert config.rank == 8
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert any(tensor.any() for name, tensor in state.items() if "lora_B" in name)
    assert omnigen(*command) == 0
    assert "trained already" in capsys.readouterr().out


def test_the_manifest_is_what_the_command_does(tmp_path: Path) -> None:
    path = REPOSITORY / "manifests" / "train" / "finetune.yaml"
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(yaml.safe_dump(finetune_document()))
    assert load_config(path) == build_config(finetune_document(), (), "here")
    full = finetune_config(tmp_path, ["d"], full=True)
    assert (full.lora.rank, full.train.lr) == (FULL["lora.rank"], FULL["train.lr"])


def test_what_the_folder_says_is_taken_and_recorded(shards: Path, tmp_path: Path) -> None:
    base = tiny_ours(tmp_path / "base", shift=3.0)
    settings, lines = resolve(finetune_config(base, [str(shards)], ["data.workers=0"]))
    assert settings.model.codec == "dct:6"
    assert settings.model.tokenizer == "bytes"
    assert settings.train.timestep_shift == 3.0
    assert settings.data.max_side == 32
    assert str(base) in lines[0]
    assert resolve(settings) == (settings, [])  # the run's own record needs neither folder nor data


def test_steps_grow_with_the_root_of_the_samples(shards: Path, tmp_path: Path) -> None:
    base = tiny_ours(tmp_path / "base")
    settings, lines = resolve(finetune_config(base, [str(shards)]))
    catalog = Catalog.open([shards], 0.1)
    count = len(catalog) - int(catalog.held_out.sum())
    words = lines[1].replace(",", "").split()
    assert int(words[0]) == settings.train.steps
    assert f"each of the {count} samples" in lines[1].replace(",", "")
    seen = float(words[words.index("some") + 1]) * count
    assert seen == pytest.approx(VISITS_OF_ONE * math.sqrt(count), rel=0.2)
    fewer, _ = resolve(finetune_config(base, [str(shards)], ["data.weights={text_to_image: 1}"]))
    assert fewer.train.steps == pytest.approx(settings.train.steps / math.sqrt(2), rel=0.05)


def test_a_trigger_word_stands_before_every_instruction_once(shards: Path, tmp_path: Path) -> None:
    catalog = Catalog.open([shards], 0.0).with_trigger("photograph of")
    texts = [catalog.sample_ref(number).instruction for number in range(len(catalog))]
    assert "A photograph of astronaut." in texts  # has it already
    assert "photograph of Give color to <img><|image_1|></img>." in texts
    base = tiny_ours(tmp_path / "base")
    settings = finetune_config(base, [str(shards)], QUICK, steps=1, trigger="sks")
    config = tmp_path / "c.yaml"
    config.write_text(resolve(settings)[0].to_yaml())
    with training(config, tmp_path / "run") as trainer:
        parts = trainer.setup.phases[0]
        assert all(parts.schedule.sequence.sample_ref(i).instruction.startswith("sks ") for i in range(5))


def quick_run(base: Path, shards: Path, run: Path, *settings: str, steps: int = 6) -> Path:
    return train_settings(finetune_config(base, [str(shards)], [*QUICK, *settings], steps=steps), "auto", run)


def test_an_adapter_is_not_continued_beside_other_weights(shards: Path, tmp_path: Path) -> None:
    base, other = tiny_ours(tmp_path / "base"), tiny_ours(tmp_path / "other", seed=1)
    run = quick_run(base, shards, tmp_path / "run", steps=2)
    with pytest.raises(UserError, match=r"trained beside other weights than those in model.init \(.*other\)"):
        quick_run(other, shards, run, steps=4)
    base.rename(tmp_path / "moved")
    quick_run(tmp_path / "moved", shards, run, steps=4)
    assert json.loads((run / "summary.json").read_text())["steps"] == 4


def test_the_frozen_weights_are_bf16_and_the_adapter_is_not(shards: Path, tmp_path: Path) -> None:
    base = tiny_ours(tmp_path / "base")
    config = tmp_path / "c.yaml"
    config.write_text(resolve(finetune_config(base, [str(shards)], QUICK, steps=1))[0].to_yaml())
    with training(config, tmp_path / "run") as trainer:
        model = trainer.setup.model
        dtypes = {(parameter.requires_grad, parameter.dtype) for parameter in model.parameters()}
        assert dtypes == {(False, torch.bfloat16), (True, torch.float32)}
        assert model.pos_embed.dtype == torch.float32


def test_all_weights_are_trained_if_asked(shards: Path, tmp_path: Path) -> None:
    base = tiny_ours(tmp_path / "base")
    settings = finetune_config(base, [str(shards)], QUICK, steps=1, full=True)
    run = train_settings(settings, "auto", tmp_path / "run")
    trained, before = load_model(run / "model").model.state_dict(), load_model(base).model.state_dict()
    changed = [name for name, tensor in trained.items() if not tensor.equal(before[name])]
    assert len(changed) > len(before) / 2


BEST = ("checkpoint.every=3", "checkpoint.keep=1", "log.validate_every=1")


def test_the_best_checkpoint_is_kept_and_exported(shards: Path, tmp_path: Path) -> None:
    """A learning rate that spoils the network: its second step is worse than its first."""
    base = tiny_ours(tmp_path / "base")
    run = quick_run(base, shards, tmp_path / "run", *BEST, "train.lr=1.0", "train.ema_decay=0.0", steps=2)
    losses = {line["step"]: line["loss"] for line in read_lines(run / "validation.jsonl") if line["step"]}
    best = min(losses, key=losses.__getitem__)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["best"] == {"step": best, "loss": losses[best]}
    assert best == 1
    kept = {path.name for path in (run / "checkpoints").iterdir()}
    assert kept == {f"step-{best:07d}", "step-0000002"}
    again = quick_run(base, shards, tmp_path / "short", *BEST, "train.lr=1.0", "train.ema_decay=0.0", steps=best)
    expected = load_adapter(again / "adapter")[1]
    found = load_adapter(run / "best")[1]
    assert all(found[name].equal(tensor) for name, tensor in expected.items())
    last = load_adapter(run / "adapter")[1]
    assert not all(found[name].equal(tensor) for name, tensor in last.items())


def test_a_stopped_run_with_an_adapter_goes_on_to_the_same_numbers(shards: Path, tmp_path: Path) -> None:
    base = tiny_ours(tmp_path / "base")
    config = tmp_path / "c.yaml"
    settings: TrainingConfig = finetune_config(base, [str(shards)], [*QUICK, *BEST, "log.every=1"], steps=6)
    config.write_text(resolve(settings)[0].to_yaml())
    for name, stops in (("whole", ()), ("stopped", (1, 4))):
        for stop in (*stops, 6):
            with training(config, tmp_path / name) as trainer:
                done = sorted((tmp_path / name / "checkpoints").glob("step-*"))
                if done:
                    trainer.resume(done[-1])
                go_on(trainer.train(), lambda event, stop=stop: event.kind == "checkpoint" and event.step >= stop)
    for file in ("metrics.jsonl", "validation.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes()


def test_mistakes_are_told(tmp_path: Path, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert omnigen("train") == 2
    assert "give either CONFIG, or --init" in capsys.readouterr().err
    config = write_config(tmp_path / "c.yaml", shards)
    assert omnigen("train", config, "--full") == 2
    assert "only with --init" in capsys.readouterr().err
    assert omnigen("train", "--init", tmp_path, "--data", shards) == 2
    assert "expected the folder of a training run, or a model folder" in capsys.readouterr().err
    assert omnigen("train", "--init", tmp_path) == 2
    assert "--data: missing" in capsys.readouterr().err


def test_class_pictures_fill_half_of_the_samples_without_a_trigger_and_are_never_held_out(
    shards: Path, tmp_path: Path
) -> None:
    base = tiny_ours(tmp_path / "base")
    folder = tmp_path / "class"
    options = GenerationOptions(steps=1)
    draw_class_pictures(base, "a photograph of a cat", 3, folder, options)
    drawn = {path: path.read_bytes() for path in folder.rglob("*.*")}
    (folder / "pictures" / "00002.png").unlink()
    for shard in (folder / "shards").glob("*"):
        shard.unlink()
    draw_class_pictures(base, "a photograph of a cat", 3, folder, options)  # a killed life goes on
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == drawn
    settings = finetune_config(base, [str(shards)], QUICK, steps=2, trigger="sks", class_shards=[str(folder)])
    config = tmp_path / "c.yaml"
    config.write_text(resolve(settings)[0].to_yaml())
    with training(config, tmp_path / "run") as trainer:
        parts = trainer.setup.phases[0]
        refs = [parts.schedule.sequence.sample_ref(i) for i in range(400)]
        assert parts.validation is not None
        assert {sample.ref.task for sample in parts.validation.samples} == {"text_to_image", "colorize"}
        of_class = [ref for ref in refs if ref.task == "class"]
        assert {ref.instruction for ref in of_class} == {"a photograph of a cat"}
        assert {ref.key for ref in of_class} == {f"class-0000{number}" for number in range(3)}
        assert 0.4 < len(of_class) / len(refs) < 0.6
        assert all(ref.instruction.startswith("sks ") for ref in refs if ref.task != "class")
        go_on(trainer.train())


def test_a_run_goes_on_from_a_folder_that_has_moved_but_not_with_another_codec(
    folders: dict[str, Path], shards: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(folders["official"], base)
    run = quick_run(base, shards, tmp_path / "run", steps=1)
    base.rename(tmp_path / "moved")
    quick_run(tmp_path / "moved", shards, run, steps=2)
    assert json.loads((run / "summary.json").read_text())["steps"] == 2
    weights = tmp_path / "moved" / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    save_file({name: tensor + 0.01 for name, tensor in state.items()}, weights, {"format": "pt"})
    with pytest.raises(UserError, match=r"trained with another codec than that of model.codec"):
        quick_run(tmp_path / "moved", shards, run, steps=3)


def test_prompts_with_images_are_drawn_at_intervals(shards: Path, tmp_path: Path) -> None:
    base, photo = tiny_ours(tmp_path / "base"), tmp_path / "photo.png"
    Image.fromarray(photograph("coffee", 48, 32)).save(photo)
    edit = f"{{prompt: '<img><|image_1|></img> Make it snow.', input_images: ['{photo}']}}"
    given = (f"log.prompts=[a cat, {edit}]", "log.sample_every=1", "log.sample_steps=1", "log.sample_held_out=0")
    run = quick_run(base, shards, tmp_path / "run", *given, steps=1)
    assert list((run / "samples").glob("*.png"))
    assert load_config(run / "config.yaml").log.prompts[1].input_images == (str(photo),)
    photo.unlink()
    with pytest.raises(UserError, match="photo.png: No such file"):
        quick_run(base, shards, tmp_path / "other", *given, steps=1)


@pytest.mark.parametrize("frozen", ["int8", "nf4"])
def test_an_adapter_is_trained_beside_weights_of_few_bits_and_resumed_exactly(
    shards: Path, tmp_path: Path, frozen: str
) -> None:
    pytest.importorskip("bitsandbytes")
    base = tiny_ours(tmp_path / "base")
    few_bits = (f"lora.frozen={frozen}", "lora.rank=32", "train.optimizer=adamw8bit")
    given = (*QUICK, *few_bits, "log.every=1", "checkpoint.every=1")
    config = tmp_path / "c.yaml"
    config.write_text(resolve(finetune_config(base, [str(shards)], given, steps=3))[0].to_yaml())
    for name, stops in (("whole", (3,)), ("stopped", (1, 3))):
        for stop in stops:
            with training(config, tmp_path / name) as trainer:
                if done := sorted((tmp_path / name / "checkpoints").glob("step-*")):
                    trainer.resume(done[-1])
                go_on(trainer.train(), lambda event, stop=stop: event.kind == "checkpoint" and event.step >= stop)
        layer = trainer.setup.model.llm.layers[0].self_attn.qkv_proj
        assert layer.quantized.weight.dtype == {"int8": torch.int8, "nf4": torch.uint8}[frozen]
        assert all(one["state1"].dtype == torch.uint8 for one in trainer.optimizer.state.values())
        assert any(tensor.any() for key, tensor in lora_state(trainer.setup.model).items() if "lora_B" in key)
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "stopped/metrics.jsonl").read_bytes()
