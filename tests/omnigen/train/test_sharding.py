"""Networks spread over real gloo ranks by FSDP2 and HSDP, whole or as adapters: the numbers are those of one rank."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from omnigen.train.metrics import read_lines
from omnigen.weights import load_model
from omnigen.weights.lora import add_lora, load_adapter, load_lora_state, merge_lora
from tests.omnigen.train.test_ranks import assert_equal_runs
from tests.support.forked import run_forked
from tests.support.training_runs import environment, train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FSDP = ("--set", "parallel.mode=fsdp")


@pytest.fixture(scope="module")
def base(config, tmp_path_factory) -> Path:
    """A network that has seen one task only."""
    run = tmp_path_factory.mktemp("runs") / "base"
    only = ("--set", "train.steps=60", "--set", "data.weights={text_to_image: 1}", "--set", "log.validate_every=0")
    result = train(config, run, *only, "--set", "log.sample_every=0")
    assert result.returncode == 0, result.stderr
    return run


def test_sharded_on_two_ranks_stopped_and_continued_on_three_it_equals_one_rank(config, alone, tmp_path):
    run = tmp_path / "run"
    first = train(config, run, *FSDP, "--set", "train.steps=3", ranks=2)
    assert first.returncode == 0, first.stderr
    second = train(config, run, *FSDP, ranks=3)
    assert second.returncode == 0, second.stderr
    assert "3 ranks on cpu, fsdp" in second.stdout
    assert "continuing from" in second.stdout
    assert_equal_runs(run, alone)
    assert (run / "samples" / "step-0000006.png").is_file()
    mine, theirs = (load_file(each / "model" / "model.safetensors") for each in (run, alone))
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_what_ranks_shared_whole_goes_on_sharded(config, alone, tmp_path):
    run = tmp_path / "run"
    first = train(config, run, "--set", "train.steps=3")
    assert first.returncode == 0, first.stderr
    second = train(config, run, *FSDP, ranks=2)
    assert second.returncode == 0, second.stderr
    assert_equal_runs(run, alone)


def test_groups_of_two_of_four_ranks_equal_one_rank(config, tmp_path):
    four = ("--set", "train.packs_per_step=4", "--set", "train.steps=3")
    whole = train(config, tmp_path / "one", *four)
    assert whole.returncode == 0, whole.stderr
    result = train(
        config, tmp_path / "four", *four, "--set", "parallel.mode=hsdp", "--set", "parallel.shard=2", ranks=4
    )
    assert result.returncode == 0, result.stderr
    assert_equal_runs(tmp_path / "four", tmp_path / "one")


def test_gradients_reduced_once_a_step_are_the_same(config, tmp_path):
    four = ("--set", "train.packs_per_step=4", "--set", "train.steps=3", "--set", "log.sample_every=0")
    whole = train(config, tmp_path / "one", *four)
    assert whole.returncode == 0, whole.stderr
    result = train(config, tmp_path / "two", *four, *FSDP, "--set", "parallel.sync=step", ranks=2)
    assert result.returncode == 0, result.stderr
    assert_equal_runs(tmp_path / "two", tmp_path / "one")


def test_groups_that_do_not_divide_the_ranks_are_refused(config, tmp_path):
    wrong = ("--set", "parallel.mode=hsdp", "--set", "parallel.shard=3")
    result = train(config, tmp_path / "run", *wrong, ranks=2)
    assert result.returncode != 0
    assert "parallel.shard: found 3, expected a divisor of the number of ranks (2)" in result.stderr


def test_an_adapter_on_two_sharded_ranks_trains_resumes_and_merges(config, base, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    settings = {"lora.rank": 4, "model.init": base, "train.lr": 0.03, "train.steps": 12, "log.sample_every": 0}
    settings |= {"data.weights": "{colorize: 1}", "train.edit_weighting": "false", "checkpoint.every": 6}
    lora = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    first = train(config, run, *FSDP, *lora, "--set", "train.steps=6", ranks=2)
    assert first.returncode == 0, first.stderr
    assert "what is trained is an adapter of 1,536 parameters, 6.1 kB" in first.stdout
    second = train(config, run, *FSDP, *lora, ranks=2)
    assert second.returncode == 0, second.stderr
    assert "continuing from" in second.stdout
    undisturbed = train(config, other, *lora)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert_equal_runs(run, other)
    losses = [line["tasks"]["colorize"] for line in read_lines(run / "validation.jsonl")]
    assert losses[-1] < 0.9 * losses[0], "what the network never saw, the adapter has learnt"

    adapter_alone, whole = (sorted((each / "checkpoints").iterdir())[-1] for each in (run, base))
    assert folder_bytes(adapter_alone) < folder_bytes(whole) / 3
    assert not (run / "model").exists()
    assert sorted(path.name for path in (run / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]

    adapter, state = load_adapter(run / "adapter")
    model = load_model(base / "model").model
    plain = velocity(model)
    add_lora(model, adapter, 0)
    load_lora_state(model, state)
    adapted = velocity(model)
    merge_lora(model)
    torch.testing.assert_close(velocity(model), adapted, rtol=1e-5, atol=1e-6)
    assert (adapted - plain).abs().max() > 1e-3


def test_a_picture_is_drawn_with_the_adapter_of_a_run(config, alone, tmp_path):
    run = tmp_path / "run"
    lora = ("--set", "lora.rank=2", "--set", f"model.init={alone}", "--set", "train.steps=2")
    result = train(config, run, *lora)
    assert result.returncode == 0, result.stderr
    picture = tmp_path / "cat.png"
    drawing = ["omnigen", "generate", "--model", run, "--prompt", "a cat", "--steps", 2, "--out", picture]
    drawn = run_forked(drawing, environment=environment())
    assert drawn.returncode == 0, drawn.stderr
    assert picture.is_file()


def test_an_adapter_beside_nothing_is_refused(config, tmp_path):
    result = train(config, tmp_path / "run", "--set", "lora.rank=4")
    assert result.returncode == 2
    assert "say which with model.init" in result.stderr


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def velocity(model: OmniGen) -> torch.Tensor:
    layout = PackLayout.build([SampleLayout(((1, 20, 30),), (), Grid(2, 2))])
    noise = torch.randn(model.config.in_channels, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(layout, [], [noise], torch.tensor([0.3]))[0]
