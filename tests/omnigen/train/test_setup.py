"""What a configuration says reaches the parts that a run is assembled from."""

from __future__ import annotations

import pytest

from omnigen.data.loading.augment import may_be_mirrored
from omnigen.data.loading.sample import Dropout
from omnigen.data.order.packing import PackingState
from omnigen.train.config import load_config
from omnigen.train.setup import assemble
from tests.support.in_process_training import CPU
from tests.support.training_runs import write_config
from x2i.errors import UserError

NO_DROPOUT = {"dropout_text": 0.0, "dropout_images": 0.0, "dropout_both": 0.0}


def planned(shards, tmp_path, train, **data):
    """The samples of the first step of a run of two phases, in each of them."""
    sections = {"train": {**NO_DROPOUT, **train, "packs_per_step": 4}, "data": data}
    config = load_config(write_config(tmp_path / "c.yaml", shards, [{"steps": 1}, {"steps": 1}], **sections))
    for parts in assemble(config, CPU).phases:
        plan = parts.schedule.step(0, PackingState())
        yield [planned for pack in plan.packs for planned in pack]


@pytest.mark.parametrize("kind", [Dropout.TEXT, Dropout.IMAGES, Dropout.BOTH])
def test_every_kind_of_dropout_takes_its_own_away_at_its_own_rate(shards, tmp_path, kind):
    for planned_samples in planned(shards, tmp_path, {f"dropout_{kind}": 1.0}):
        assert len(planned_samples) > 20
        assert {planned.dropout for planned in planned_samples} == {kind}
    for planned_samples in planned(shards, tmp_path, {f"dropout_{kind}": 0.4}):
        assert {planned.dropout for planned in planned_samples} == {kind, Dropout.NONE}


def test_without_dropout_nothing_is_taken_away_and_without_flip_nothing_is_mirrored(shards, tmp_path):
    for planned_samples in planned(shards, tmp_path, {}):
        assert {planned.dropout for planned in planned_samples} == {Dropout.NONE}
        assert not any(planned.mirrored for planned in planned_samples)


def test_whatever_may_be_mirrored_is_mirrored_at_the_rate_of_data_flip(shards, tmp_path):
    for planned_samples in planned(shards, tmp_path, {}, flip=1.0):
        allowed = [may_be_mirrored(planned.ref.task, planned.ref.instruction) for planned in planned_samples]
        assert [planned.mirrored for planned in planned_samples] == allowed
        assert set(allowed) == {True, False}


class ToldError(Exception):
    """Raised by the first line that is told."""


def test_the_memory_that_training_takes_is_told_before_any_is_taken(shards, tmp_path):
    """The network is one that no machine could begin to build."""
    size = 2**23
    network = {"overrides": {"hidden_size": size, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}}
    config = load_config(write_config(tmp_path / "c.yaml", shards, model=network))

    def tell(line: str) -> None:
        raise ToldError(line)

    with pytest.raises(ToldError, match=r"^about [\d,.]+ GB on each device: weights [\d,.]+ GB, gradients") as told:
        assemble(config, CPU, tell)
    attention = 2 * 4 * size**2 * 4  # bytes of two layers of four square matrices in fp32
    assert float(str(told.value).split()[1].replace(",", "")) > 4 * attention / 1e9, "with Adam's moments and gradients"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("log.prompts=['<img><|image_1|></img> a cat']", "log.prompts: .*marks 1 image.s., and 0 are given"),
        ("train.attention=varlen", "train.attention: found varlen, which runs on CUDA devices only"),
        ("model.overrides.vocab_size=5", "vocab_size: found 5, expected at least 272, the ids of the tokenizer bytes"),
        ("model.overrides.in_channels=5", "in_channels: found 5, expected 6, the channels of the codec dct:6"),
        (
            "data.weights={colorise: 1}",
            r"data.weights.colorise: the shards hold no such task; did you mean 'colorize'",
        ),
        (
            "phases=[{steps: 1, name: big, weights: {x: 1}}]",
            r"^big: weights.x: the shards hold no such task\. They hold",
        ),
        ("data.validation_fraction=1.0", r"of 32, 32 are held out \(data.validation_fraction.*Hold less out"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_built(shards, tmp_path, setting, message):
    config = load_config(write_config(tmp_path / "c.yaml", shards), [setting])
    with pytest.raises(UserError, match=message):
        assemble(config, CPU)
