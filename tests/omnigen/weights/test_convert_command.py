"""`omnigen convert`: every cycle of the three layouts gives back every bit, and other libraries read it."""

from __future__ import annotations

import inspect
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omnigen.generate.pipeline import REFERENCE_SEED
from omnigen.tokenizer import load_tokenizer
from omnigen.weights import load_model, read_description, save_model
from omnigen.weights.convert import convert
from omnigen.weights.options import Conversion
from tests.omnigen.test_cli import omnigen
from tests.support.model_folders import equal, published, tensors
from tests.support.tiny_network import CONFIG, SAMPLES, inputs, random_model, relative_error
from x2i.errors import UserError

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

LAYOUTS = ("ours", "official", "diffusers")
CYCLES = [cycle for cycle in itertools.product(LAYOUTS, repeat=2) if len(set(cycle)) == 2]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same kind of network in each layout: the published one as published, the others as they are written."""
    folder = tmp_path_factory.mktemp("sources")
    official = published(folder / "official")
    convert(official, folder / "diffusers", Conversion("diffusers"))
    state = random_model(seed=3).state_dict()
    save_model(folder / "ours", CONFIG, state, tokenizer="bytes", codec="dct:4", image_size=64)
    return {name: folder / name for name in LAYOUTS}


def everything(folder: Path) -> dict[str, bytes]:
    """Returns the contents of all files of a folder, JSON by meaning."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: json.dumps(json.loads(path.read_text()), sort_keys=True).encode()
        if name.endswith(".json")
        else path.read_bytes()
        for name, path in files.items()
    }


@pytest.mark.parametrize("cycle", CYCLES, ids="-".join)
@pytest.mark.parametrize("start", LAYOUTS)
def test_every_cycle_gives_back_every_bit(
    sources: dict[str, Path], tmp_path: Path, start: str, cycle: tuple[str, ...]
) -> None:
    folder = sources[start]
    for number, layout in enumerate((*cycle, start)):
        out = tmp_path / str(number)
        convert(folder, out, Conversion(layout, max_shard_size=300_000 if number == 0 else 10**9))
        folder = out
    found, expected = everything(folder), everything(sources[start])
    weights = "model.safetensors" if start != "diffusers" else "transformer/diffusion_pytorch_model.safetensors"
    place = Path(weights).parent
    assert found.keys() == expected.keys()
    assert equal(tensors(folder / place), tensors(sources[start] / place))
    assert [name for name in found if found[name] != expected[name] and name != weights] == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("start", LAYOUTS)
def test_what_is_written_loads_and_computes_the_same(
    sources: dict[str, Path], tmp_path: Path, start: str, layout: str
) -> None:
    convert(sources[start], tmp_path / "out", Conversion(layout, max_shard_size=400_000))
    before, after = load_model(sources[start]), load_model(tmp_path / "out")
    assert after.description.config == before.description.config
    assert after.description.image_size == before.description.image_size
    pack = inputs(SAMPLES)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(after.model(*pack), before.model(*pack)))


def test_diffusers_loads_its_layout_and_computes_the_same(sources: dict[str, Path], tmp_path: Path) -> None:
    from diffusers import OmniGenTransformer2DModel

    from tests.omnigen.network.test_diffusers_parity import their_velocity

    convert(sources["official"], tmp_path / "out", Conversion("diffusers", max_shard_size=400_000))
    assert len(list((tmp_path / "out" / "transformer").glob("*-of-*.safetensors"))) > 1
    theirs, loading = OmniGenTransformer2DModel.from_pretrained(
        tmp_path / "out", subfolder="transformer", output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    ours = load_model(sources["official"]).model
    for index, one in enumerate(SAMPLES):
        with torch.no_grad():
            expected = their_velocity(theirs, one, seed=index)
            (found,) = ours(*inputs((one,), seed=index))
        assert relative_error(found, expected) < 1e-5


def test_plain_rope_means_the_same_to_diffusers(tmp_path: Path) -> None:
    from dataclasses import replace

    from diffusers import OmniGenTransformer2DModel

    from tests.omnigen.network.test_diffusers_parity import their_velocity

    config = replace(CONFIG, rope_short_factors=None, rope_long_factors=None)
    model = random_model(config)
    save_model(tmp_path / "ours", config, model.state_dict(), tokenizer="bytes", codec="dct:4")
    convert(tmp_path / "ours", tmp_path / "theirs", Conversion("diffusers"))
    theirs = OmniGenTransformer2DModel.from_pretrained(tmp_path / "theirs" / "transformer")
    with torch.no_grad():
        expected = their_velocity(theirs, SAMPLES[-1], seed=1)
        (found,) = model(*inputs((SAMPLES[-1],), seed=1))
    assert relative_error(found, expected) < 1e-5
    assert load_model(tmp_path / "theirs").description.config == config


def test_every_part_that_the_pipeline_index_names_loads(sources: dict[str, Path]) -> None:
    index = json.loads((sources["diffusers"] / "model_index.json").read_text())
    parts = {name: value for name, value in index.items() if not name.startswith("_")}
    loaded = {
        name: getattr(__import__(library), kind).from_pretrained(sources["diffusers"], subfolder=name)
        for name, (library, kind) in parts.items()
    }
    assert loaded.keys() == {"scheduler", "tokenizer", "transformer", "vae"}
    assert loaded["vae"].config.scaling_factor == 0.13025
    loaded["scheduler"].set_timesteps(sigmas=np.linspace(1, 0, 5)[:4])
    assert loaded["scheduler"].timesteps.tolist() == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("shown", [0, 1], ids=["words alone", "an image"])
def test_the_diffusers_pipeline_draws_what_we_draw(tmp_path: Path, shown: int) -> None:
    """With guidance and its own negative prompt, which must be shorter than the prompt: diffusers takes the positions
    of all rows from the first, and the long factors for all if one is long.
    """
    pytest.importorskip("torchvision", reason="diffusers' OmniGenPipeline needs torchvision")
    from diffusers import OmniGenPipeline

    from omnigen.generate.pipeline import OmniGenPipeline as OurPipeline

    official = published(tmp_path / "official")
    config = json.loads((official / "config.json").read_text())
    (official / "config.json").write_text(json.dumps({**config, "original_max_position_embeddings": 2000}))
    convert(official, tmp_path / "diffusers", Conversion("diffusers"))
    theirs = OmniGenPipeline.from_pretrained(tmp_path / "diffusers")
    theirs.set_progress_bar_config(disable=True)
    ours = OurPipeline.from_pretrained(official, device="cpu")
    # It samples the latents of an input image as torch's global state has it.
    theirs.encode_input_images = lambda pixels, device: [
        ours.codec.encode(each, torch.Generator().manual_seed(REFERENCE_SEED)) for each in pixels
    ]
    images = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (32, 48, 3), np.uint8)) for n in range(shown)]
    words = "a cat on the wall of a garden " * 60
    prompt = f"<img><|image_1|></img> {words}" if shown else words
    noise = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    given = {"height": 32, "width": 48, "num_inference_steps": 3, "latents": noise, "output_type": "latent"}
    negative = inspect.signature(theirs.multimodal_processor.__call__).parameters["negative_prompt"].default
    expected = theirs([prompt], [images] if shown else None, **given).images[0]
    found = ours(prompt, images, negative_prompt=negative, **given).images[0]
    assert relative_error(found, expected) < 1e-5


def test_what_diffusers_saves_itself_is_read(sources: dict[str, Path], tmp_path: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, OmniGenTransformer2DModel

    saved = tmp_path / "saved"
    shutil.copytree(sources["diffusers"], saved)
    for kind, name, options in (
        (OmniGenTransformer2DModel, "transformer", {"max_shard_size": "400KB"}),
        (FlowMatchEulerDiscreteScheduler, "scheduler", {}),
    ):
        shutil.rmtree(saved / name)
        kind.from_pretrained(sources["diffusers"], subfolder=name).save_pretrained(saved / name, **options)
    assert len(list((saved / "transformer").glob("*-of-*.safetensors"))) > 1
    index = json.loads((saved / "model_index.json").read_text())
    (saved / "model_index.json").write_text(json.dumps({**index, "_diffusers_version": "0.42.1"}))
    convert(saved, tmp_path / "official", Conversion("official"))
    assert equal(tensors(tmp_path / "official"), tensors(sources["official"]))
    convert(tmp_path / "official", tmp_path / "again", Conversion("diffusers"))
    for name in ("transformer/config.json", "scheduler/scheduler_config.json", "model_index.json"):
        assert json.loads((tmp_path / "again" / name).read_text()) == json.loads((saved / name).read_text())


def test_the_transformer_folder_alone_is_read(sources: dict[str, Path], tmp_path: Path) -> None:
    written = convert(sources["diffusers"] / "transformer", tmp_path / "out", Conversion("official"))
    assert equal(tensors(tmp_path / "out"), tensors(sources["official"]))
    assert written.source_layout == "diffusers"


def test_transformers_reads_the_official_configuration(sources: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoConfig

    convert(sources["ours"], tmp_path / "out", Conversion("official"))
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert config.rope_parameters["rope_type"] == "longrope"
    assert config.rope_parameters["long_factor"] == list(CONFIG.rope_long_factors or ())
    assert config.num_hidden_layers == CONFIG.num_layers


def test_the_tokenizer_gives_the_same_ids_wherever_it_goes(sources: dict[str, Path], tmp_path: Path) -> None:
    convert(sources["official"], tmp_path / "ours", Conversion("ours"))
    text = "<|user|>\nput the cat on the wall<|end|>\n é"
    ids = [
        load_tokenizer(read_description(folder).tokenizer).encode(text)
        for folder in (sources["official"], sources["diffusers"], tmp_path / "ours")
    ]
    assert ids[0] == ids[1] == ids[2]
    assert len(ids[0]) > 30


def test_a_legacy_pickle_of_tensors_is_read_and_any_other_refused(sources: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "legacy"
    folder.mkdir()
    (folder / "config.json").write_bytes((sources["official"] / "config.json").read_bytes())
    state = tensors(sources["official"])
    for zipped in (True, False):
        torch.save(state, folder / "model.pt", _use_new_zipfile_serialization=zipped)
        convert(folder, tmp_path / f"out-{zipped}", Conversion("official"))
        assert equal(tensors(tmp_path / f"out-{zipped}"), state)
    torch.save({"weights": Path("a")}, folder / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt: a pickle that holds more than tensors"):
        convert(folder, tmp_path / "never", Conversion("ours"))
    torch.save({"model": state}, folder / "model.pt")
    with pytest.raises(UserError, match="expected a state dict"):
        convert(folder, tmp_path / "never", Conversion("ours"))
    whole = (tmp_path / "out-True" / "model.safetensors").read_bytes()
    (folder / "model.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.pt"):
        convert(folder, tmp_path / "never", Conversion("ours"))
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_parameters_are_cast_and_the_position_table_is_not(
    sources: dict[str, Path], tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    convert(sources["official"], tmp_path / "out", Conversion("ours", dtype=name))
    source = tensors(sources["official"])
    expected = {key: tensor if key == "pos_embed" else tensor.to(dtype) for key, tensor in source.items()}
    assert equal(tensors(tmp_path / "out"), expected)


def test_a_configuration_that_names_its_dtype_follows_a_cast(sources: dict[str, Path], tmp_path: Path) -> None:
    convert(sources["official"], tmp_path / "ours", Conversion("ours", dtype="fp32"))
    convert(tmp_path / "ours", tmp_path / "out", Conversion("official"))
    before, after = (json.loads((f / "config.json").read_text()) for f in (sources["official"], tmp_path / "out"))
    assert (before.pop("torch_dtype"), after.pop("torch_dtype")) == ("bfloat16", "float32")
    assert after == before


def test_a_value_beyond_fp16_is_refused(tmp_path: Path) -> None:
    state = random_model().state_dict()
    state["llm.norm.weight"][3] = 1e6
    save_model(tmp_path / "in", CONFIG, state, tokenizer="bytes", codec="dct:4")
    with pytest.raises(UserError, match=r"llm\.norm\.weight.*bf16"):
        convert(tmp_path / "in", tmp_path / "out", Conversion(dtype="fp16"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("layout", "file", "change", "message"),
    [
        ("ours", "config.json", {"format_version": 2}, "format_version: found 2, expected 1"),
        ("ours", "config.json", {"model": []}, "model: found \\[\\], expected a JSON object"),
        ("ours", "config.json", {"codec": None}, "codec: found None, expected a name"),
        ("ours", "config.json", {"image_size": "big"}, "image_size: found 'big'"),
        ("ours", "config.json", {"carried": {"official": 3}}, "carried: expected JSON objects"),
        ("official", "config.json", {"rope_scaling": [1]}, "rope_scaling: found \\[1\\], expected a JSON object"),
        ("official", "config.json", {"rope_scaling": {"type": "su", "short_factor": 1, "long_factor": 2}}, "a list of"),
        ("official", "config.json", {"rms_norm_eps": "small"}, "rms_norm_eps: found 'small'"),
        ("official", "config.json", {"hidden_size": 100}, "expected 25 factors"),
        ("diffusers", "transformer/config.json", {"num_key_value_heads": 1}, "num_key_value_heads: found 1"),
        ("diffusers", "transformer/config.json", {"rope_base": "x"}, "rope_theta: found 'x'"),
        ("diffusers", "transformer/config.json", {"flip_sin_to_cos": False}, "flip_sin_to_cos: found False"),
        ("diffusers", "transformer/config.json", {"_class_name": "FluxTransformer2DModel"}, "no network known here"),
    ],
)
def test_a_configuration_that_is_not_ours_is_refused_by_field(
    sources: dict[str, Path], tmp_path: Path, layout: str, file: str, change: dict, message: str
) -> None:
    shutil.copytree(sources[layout], tmp_path / "in")
    path = tmp_path / "in" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=rf"{Path(file).name}: .*{message}"):
        convert(tmp_path / "in", tmp_path / "out", Conversion("ours"))


def test_a_place_that_cannot_be_written_is_a_mistake_of_the_user(sources: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nothing was written"):
        convert(sources["ours"], tmp_path / "file" / "out", Conversion("ours"))


def test_every_layout_draws_the_same_picture(sources: dict[str, Path], tmp_path: Path) -> None:
    convert(sources["official"], tmp_path / "ours", Conversion("ours", max_shard_size=400_000))
    pictures = []
    for number, folder in enumerate((sources["official"], sources["diffusers"], tmp_path / "ours")):
        out = tmp_path / f"{number}.png"
        options = ("--steps", 2, "--height", 32, "--width", 48, "--out", out)
        assert omnigen("generate", "--model", folder, "--prompt", "a cat", *options) == 0
        pictures.append(Image.open(out).tobytes())  # the file also says which model drew it
    assert pictures[0] == pictures[1] == pictures[2]


def test_the_command_line_says_what_it_did_and_where_files_are_missing(
    sources: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert omnigen("convert", sources["ours"], tmp_path / "a", "--to", "diffusers", "--max-shard-size", "0.4MB") == 0
    out = capsys.readouterr().out
    assert "diffusers layout (from ours), 904,912 parameters" in out
    assert not (tmp_path / "a" / "model_index.json").exists()
    shutil.copytree(sources["diffusers"] / "transformer", tmp_path / "alone")
    assert omnigen("convert", tmp_path / "alone", tmp_path / "b", "--to", "ours") == 0
    error = capsys.readouterr().err
    assert "no tokenizer files" in error
    assert "no vae/" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{ours}", "{out}", "--to", "diffuser"], "did you mean 'diffusers'"),
        (["{ours}", "{out}", "--to", "ours", "--dtype", "int8"], "expected one of"),
        (["{ours}", "{ours}", "--to", "ours"], "exists already"),
        (["{ours}", "{out}", "--to", "ours", "--max-shard-size", "lots"], "such as 5GB"),
        (["{ours}", "{out}", "--to", "ours", "--seed", str(1 << 32)], "0<=x<=4294967295"),
        (["{ours}", "{out}", "--to", "ours", "--codec", "dct:12"], "leave --codec out"),
        (["{out}", "{out}", "--to", "ours"], "expected the folder of a training run"),
        (["{ours}", "{out}", "--to", "ours", "--lora", "{ours}"], "adapter_config.json"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    sources: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    filled = [each.replace("{ours}", str(sources["ours"])).replace("{out}", str(tmp_path / "o")) for each in arguments]
    assert omnigen("convert", *filled) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
