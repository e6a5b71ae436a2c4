"""What a run leaves behind, and what it does when something is wrong with its data; in this process, tiny networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnigen.cli import main
from omnigen.data.order.permutation import permute
from omnigen.generate.pipeline import OmniGenPipeline
from omnigen.train.config import load_config
from omnigen.train.metrics import RunLog, read_lines
from omnigen.train.parallel import Ranks
from omnigen.train.run import train
from omnigen.train.setup import assemble
from omnigen.weights import load_model
from tests.support.training_runs import TASKS, write_config
from tests.support.training_shards import NAMES, make_sample, make_shards
from x2i.errors import RunError, UserError
from x2i.image import decode
from x2i.sample import RecipeStamp
from x2i.store.shards import find_shards, shard_name, training_shard

CPU = Ranks(0, 1, torch.device("cpu"))


def damage(dataset, task: str, count: int) -> list[str]:
    shard = next(shard for shard in find_shards(dataset) if shard.name.startswith(task))
    rows = shard.index().to_pylist()[:count]
    with open(shard.tar, "r+b") as stream:
        for row in rows:
            stream.seek(row["image_offsets"][-1])
            stream.write(b"no image" * 20)
    return [row["key"] for row in rows]


def test_a_run_leaves_a_network_numbers_and_pictures(shards, tmp_path):
    config = write_config(
        tmp_path / "c.yaml",
        shards,
        train={"steps": 4},
        log={"sample_every": 2, "sample_held_out": 2, "prompts": ["a cat"], "every": 2},
    )
    run = train(config, [], "auto", tmp_path / "run")
    sheet = decode((run / "samples" / "step-0000004.png").read_bytes())
    assert sheet.shape[0] > 3 * 100
    assert sheet.std() > 10
    saved = load_model(run / "model")
    assert saved.description.codec == "dct:6"
    assert saved.description.image_size == 32
    assert load_config(run / "config.yaml") == load_config(config)
    assert len(read_lines(run / "metrics.jsonl")) == 2


def test_undecodable_samples_are_counted_and_named_and_training_goes_on(tmp_path):
    dataset = make_shards(tmp_path / "data", TASKS, sizes=((32, 32),))
    damaged = damage(dataset, "denoise", 3)
    config = write_config(tmp_path / "c.yaml", dataset, train={"steps": 6})
    run = train(config, [], "auto", tmp_path / "run")
    lines = read_lines(run / "bad_samples.jsonl")
    assert {line["key"] for line in lines} <= set(damaged)
    assert read_lines(run / "metrics.jsonl")[-1]["bad_samples"] == len({line["key"] for line in lines}) > 0
    assert all("output" in line["reason"] for line in lines)


def test_too_many_undecodable_samples_stop_the_run_with_a_list(tmp_path):
    dataset = make_shards(tmp_path / "data", TASKS, sizes=((32, 32),))
    damaged = damage(dataset, "denoise", 8)
    config = write_config(tmp_path / "c.yaml", dataset, data={"bad_samples": 1}, train={"steps": 40})
    with pytest.raises(RunError, match=r"\d samples could not be decoded, more than data.bad_samples \(1\)") as caught:
        train(config, [], "auto", tmp_path / "run")
    assert sum(key in str(caught.value) for key in damaged) >= 2


def test_a_run_in_which_every_sample_is_passed_over_fails_and_says_so(tmp_path, capsys):
    dataset = make_shards(tmp_path / "data", ("denoise",), NAMES[:4], ((32, 32),))
    damaged = damage(dataset, "denoise", 4)
    config = write_config(tmp_path / "c.yaml", dataset, data={"validation_fraction": 0.0})
    with pytest.raises(SystemExit) as ended:
        main(["train", str(config), "--out", str(tmp_path / "run")])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "nothing was trained: every sample was passed over; 4 could not be decoded" in said.err
    assert "trained; the network is in" not in said.out
    assert not (tmp_path / "run" / "summary.json").exists()
    assert {line["key"] for line in read_lines(tmp_path / "run" / "bad_samples.jsonl")} == set(damaged)


def test_samples_that_are_passed_over_are_shown_on_the_screen(tmp_path, capsys):
    dataset = make_shards(tmp_path / "data", TASKS, sizes=((32, 32),))
    damaged = damage(dataset, "denoise", 3)
    config = write_config(tmp_path / "c.yaml", dataset, train={"steps": 6})
    run = train(config, [], "auto", tmp_path / "run")
    known = {line["key"] for line in read_lines(run / "bad_samples.jsonl")}
    said = capsys.readouterr().out
    assert known <= set(damaged)
    for key in known:
        assert f"passed over {key} of " in said
    assert f"passed over {len(known)} samples that could not be decoded: see " in said


def test_a_run_of_edits_that_change_nothing_fails(tmp_path):
    """Its loss is 0 at every step, since a target that equals its input counts nothing."""
    name = shard_name("same", 1, 0)
    with training_shard(tmp_path / "data", name) as writer:
        for photo in NAMES[:3]:
            sample, inputs, _ = make_sample("colorize", photo, (32, 32))
            writer.add(replace(sample, task="same", recipe=RecipeStamp("same", 1, {})), inputs, inputs[0])
    dropout = dict.fromkeys(("dropout_text", "dropout_images", "dropout_both"), 0.0)
    settings = {"data": {"validation_fraction": 0.0}, "train": {"steps": 2, **dropout}}
    config = write_config(tmp_path / "c.yaml", tmp_path / "data", **settings)
    with pytest.raises(RunError, match="nothing was trained: in every sample the output equals the input"):
        train(config, [], "auto", tmp_path / "run")


def test_a_run_is_sampled_with_the_timestep_shift_that_it_was_trained_with(shards, tmp_path):
    config = write_config(tmp_path / "c.yaml", shards, train={"steps": 1, "timestep_shift": 3.0})
    base = train(config, [], "auto", tmp_path / "run")
    assert OmniGenPipeline.from_pretrained(base, device="cpu").shift == 3.0
    settings = [f"model.init={base}", "lora.rank=2", "train.timestep_shift=2.0"]
    adapted = train(config, settings, "auto", tmp_path / "adapted")
    assert OmniGenPipeline.from_pretrained(adapted, device="cpu").shift == 2.0


def test_the_moved_base_of_an_adapter_is_named_with_the_flags_that_work(shards, tmp_path, capsys):
    config = write_config(tmp_path / "c.yaml", shards, train={"steps": 1})
    train(config, [], "auto", tmp_path / "base")
    adapted = train(config, [f"model.init={tmp_path / 'base'}", "lora.rank=2"], "auto", tmp_path / "adapted")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    generate = ["generate", "--prompt", "a cat", "--steps", "1", "--out", str(tmp_path / "cat.png")]
    with pytest.raises(SystemExit) as ended:
        main([*generate, "--model", str(adapted)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"{tmp_path / 'base'}, which is not there" in said
    assert f"--model FOLDER --lora {adapted / 'adapter'}" in said
    with pytest.raises(SystemExit) as ended:
        main([*generate, "--model", str(tmp_path / "elsewhere"), "--lora", str(adapted / "adapter")])
    assert not ended.value.code


def test_samples_that_do_not_fit_a_pack_are_left_out_and_counted(shards, tmp_path):
    config = load_config(write_config(tmp_path / "c.yaml", shards, train={"pack_tokens": 60}))
    setup = assemble(config, CPU)
    assert setup.phases[0].too_long == 8  # few_shot: four images and a long instruction
    config = load_config(write_config(tmp_path / "c.yaml", shards, train={"pack_tokens": 10}))
    with pytest.raises(UserError, match="no sample is left to train on: of 32, .* longer than train.pack_tokens"):
        assemble(config, CPU)


def test_the_mean_predictor_is_the_best_constant_and_no_network(shards, tmp_path):
    setup = assemble(load_config(write_config(tmp_path / "c.yaml", shards)), CPU)
    validation = setup.phases[0].validation
    assert validation is not None
    report = validation.mean_predictor()
    velocities = [(x - eps).flatten(1).double() for pack in validation._packs for x, eps in zip(pack.clean, pack.noise)]
    every_C = torch.cat(velocities, 1)
    assert report["loss"] == pytest.approx(every_C.var(1, correction=0).mean().item(), rel=1e-6)
    untrained = validation.evaluate(setup.model)
    assert untrained["loss"] == pytest.approx(every_C.square().mean().item(), rel=1e-5)
    assert validation.evaluate(setup.model) == untrained
    assert set(untrained["timesteps"]) == {"0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00"}


def test_training_begins_from_a_given_network(shards, tmp_path):
    config = write_config(tmp_path / "c.yaml", shards, train={"steps": 2})
    first = train(config, [], "auto", tmp_path / "first")
    setup = assemble(load_config(config, [f"model.init={first}"]), CPU)
    expected = load_model(first / "model").model.state_dict()
    assert all(value.equal(expected[name]) for name, value in setup.model.state_dict().items())
    with pytest.raises(UserError, match="another network than the one configured: hidden_size 32 there, 64 here"):
        assemble(load_config(config, [f"model.init={first}", "model.overrides.hidden_size=64"]), CPU)


def test_a_side_that_the_network_has_no_positions_for_is_refused(shards, tmp_path):
    config = load_config(write_config(tmp_path / "c.yaml", shards, data={"max_side": 2048}))
    with pytest.raises(UserError, match=r"data.max_side: found 2048, expected at most 1024"):
        assemble(config, CPU)


def test_lines_of_a_life_that_ended_are_taken_back(tmp_path):
    first = RunLog(tmp_path, 0, 0)
    for step in range(6):
        first.write("metrics.jsonl", step, {"loss": step / 3})
    first.close()
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(whole + b'{"step": 6, "lo')
    again = RunLog(tmp_path, 3, 1)
    again.write("metrics.jsonl", 4, {"loss": 4 / 3})
    again.write("metrics.jsonl", 5, {"loss": 5 / 3})
    again.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def test_validation_samples_alternate_the_tasks(shards, tmp_path):
    setup = assemble(load_config(write_config(tmp_path / "c.yaml", shards)), CPU)
    validation = setup.phases[0].validation
    assert validation is not None
    assert sorted(planned.ref.task for planned in validation.samples) == sorted(TASKS)
    assert len(np.unique(permute(np.arange(8), 8, 0))) == 8
