from __future__ import annotations

from pathlib import Path

import pytest

from omnigen.codecs.dct import DctCodec
from omnigen.tokenizer import ByteTokenizer
from omnigen.train.ablate import Ablations
from omnigen.train.config import TrainingConfig, differences, load_config
from omnigen.train.memory import report
from omnigen.train.phases import run_phases
from omnigen.train.setup import network_config
from tests.support import REPOSITORY
from x2i.errors import UserError
from x2i.settings import load_settings

MANIFESTS = REPOSITORY / "manifests" / "train"


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("data: {shards: [dataset]}\ntrain: {lr: 3e-4, steps: 10}\n")
    return path


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.stepz=3", r"train\.stepz: unknown key: did you mean 'steps'"),
        ("trian.steps=3", r"trian: unknown key: did you mean 'train'"),
        ("train.steps=many", r"train\.steps: .*integer, found 'many'"),
        ("train.steps=2.5", r"train\.steps: .*integer"),
        ("train.lr=-1", r"train\.lr: .*greater than 0, found -1"),
        ("train.schedule=linear", r"train\.schedule: .*'cosine' or 'constant', found 'linear'"),
        ("train.dropout_both=0.95", r"dropout_text \+ dropout_images \+ dropout_both of at most 1, they are 1.05"),
        ("train.lr=.inf", r"train\.lr: .*finite"),
        ("train.timestep_mean=.nan", r"train\.timestep_mean: .*finite"),
        ("log.guidance=.inf", r"log\.guidance: .*finite"),
        ("train.threads=100000", r"train\.threads: .*1024, found 100000"),
        ("train.steps=&a [*a]", "of a kind that JSON does not have"),
        ("data.weights={}", r"data: .*expected weights with at least one above 0"),
        ("data.weights={colorize: 0}", r"data: .*expected weights with at least one above 0"),
        ("data.weights={colorize: .inf}", r"data\.weights\.colorize: .*finite"),
        ("phases=[{steps: 2, weights: {colorize: 0}}]", r"phases\.0: .*expected weights with at least one above 0"),
        ("data.weights={colorize: -1}", r"data\.weights\.colorize: .*found -1"),
        ("data.max_side=8", r"data\.max_side: .*16, found 8"),
        ("log.prompts=[1]", r"log\.prompts\.0.*string, found 1"),
        ("phase=3", r"phase: unknown key: did you mean 'phases'"),
        ("phases=[{steps: 2, sides: 64}]", r"phases\.0\.sides: unknown key"),
        ("phases=[{max_side: 64}]", r"phases\.0\.steps: .*required"),
        ("parallel.mode=tensor", r"parallel\.mode: .*'ddp', 'fsdp' or 'hsdp'"),
        ("lora.rank=-1", r"lora\.rank: .*found -1"),
        ("train.steps", "expected section.key=value"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_expectation(config, setting, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config(config, [setting])
    assert "run.yaml" in str(caught.value) or "--set" in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.name for path in MANIFESTS.glob("*.yaml")))
def test_the_configurations_that_come_along_are_valid(name):
    path = MANIFESTS / name
    if name == "ablations.yaml":
        ablations = load_settings(Ablations, path)
        assert all(comparison.better in comparison.arms for comparison in ablations.comparisons)
        path = path.parent / ablations.base
    config = load_config(path)
    if config.model.preset == "init":  # has its network from a folder: see test_finetune.py
        return
    tokenizer, codec = ByteTokenizer(), DctCodec(4 if config.model.preset == "phi3-mini" else 12)
    network = network_config(config, tokenizer, codec)
    assert all(phase.max_side <= network.pos_embed_max_size * 16 for phase in run_phases(config))
    assert "parameters" in report(config, network)


def test_a_key_given_twice_is_refused(config):
    config.write_text("train: {steps: 1, steps: 2}\n")
    with pytest.raises(UserError, match="'steps' is given twice"):
        load_config(config)


def test_paths_in_the_file_are_relative_to_it_and_paths_set_are_relative_to_here(config, tmp_path):
    assert load_config(config).data.shards == (str(tmp_path / "dataset"),)
    assert load_config(config, ["data.shards=[here]"]).data.shards == (str(Path.cwd() / "here"),)
    assert load_config(config, ["data.shards=here"]).data.shards == (str(Path.cwd() / "here"),)


@pytest.mark.parametrize(("key", "family"), [("codec", "sdxl"), ("tokenizer", "hf")])
def test_folders_of_codec_and_tokenizer_are_relative_to_the_file_and_hub_ids_stay(config, tmp_path, key, family):
    def found(name, *overrides):
        config.write_text(f"model: {{{key}: '{name}'}}\n")
        return getattr(load_config(config, overrides).model, key)

    (tmp_path / "parts").mkdir()
    assert found(f"{family}:parts") == f"{family}:{tmp_path / 'parts'}"
    assert found(f"{family}:./later") == f"{family}:{tmp_path / 'later'}"
    assert found(f"{family}:some/hub-id") == f"{family}:some/hub-id"
    assert found(f"{family}:/abs") == f"{family}:/abs"
    assert found("bytes", f"model.{key}={family}:./here") == f"{family}:{Path.cwd() / 'here'}"


def test_overrides_replace_single_values(config):
    changed = load_config(config, ["train.lr=1e-5", "data.weights={a: 2, b: 0.5}", "log.prompts=[a cat, a dog]"])
    assert changed.train.lr == 1e-5
    assert changed.train.steps == 10
    assert changed.data.weights == {"a": 2.0, "b": 0.5}
    assert changed.log.prompts == ("a cat", "a dog")
    assert set(differences(load_config(config), changed)) == {"train.lr", "data.weights", "log.prompts"}


def test_a_written_configuration_reads_back_equal(config, tmp_path):
    settings = load_config(config, ["data.weights={a: 2}", "model.overrides={hidden_size: 64}", "model.init=x"])
    (tmp_path / "again.yaml").write_text(settings.to_yaml())
    assert load_config(tmp_path / "again.yaml") == settings


def test_the_defaults_are_a_valid_configuration(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == TrainingConfig()
