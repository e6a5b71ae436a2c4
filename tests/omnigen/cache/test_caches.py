"""Training from kept latents and prompts: the same numbers as without, and clear words about what is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnigen.cache.encode import encode
from omnigen.cache.latents import LatentReader
from omnigen.cache.options import EncodeOptions
from omnigen.codecs.base import load_codec
from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.loader import StepLoader
from omnigen.data.loading.sample import Dropout, ImageReader, make_planned_sample
from omnigen.data.order.packing import PackingState
from omnigen.data.shards.catalog import Catalog
from omnigen.tokenizer import ByteTokenizer
from omnigen.train.config import OptimizationConfig, load_config
from omnigen.train.metrics import read_lines
from omnigen.train.objective import prepare_pack
from omnigen.train.parallel import Ranks
from omnigen.train.run import train
from omnigen.train.setup import assemble
from tests.support.tiny_vae import save_tiny_vae
from tests.support.training_runs import TASKS, write_config
from tests.support.training_shards import make_shards
from x2i.errors import UserError
from x2i.store.shards import find_shards

CPU = Ranks(0, 1, torch.device("cpu"))
COMPARED = ("metrics.jsonl", "validation.jsonl")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "data", TASKS, sizes=((32, 32), (48, 32)))


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sdxl:{save_tiny_vae(tmp_path_factory.mktemp('vae'))}"


def keep(dataset: Path, codec: str = "dct:6", dtype: str = "fp32", tokenizer: str | None = "bytes") -> None:
    encode([dataset], EncodeOptions(codec, (32,) if codec else (), tokenizer, dtype, "cpu"))


def trained(config: Path, run: Path, *settings: str) -> Path:
    return train(config, list(settings), "auto", run)


@pytest.mark.parametrize("codec", ["dct:6", "vae"])
def test_a_run_on_kept_latents_has_the_losses_of_one_on_pixels_to_the_last_bit(dataset, vae, tmp_path, codec):
    codec = vae if codec == "vae" else codec
    sections = {"model": {"codec": codec}, "train": {"steps": 6}, "log": {"sample_every": 6, "sample_held_out": 1}}
    config = write_config(tmp_path / "c.yaml", dataset, **sections)
    pixels = trained(config, tmp_path / "pixels")
    keep(dataset, codec)
    kept = trained(config, tmp_path / "kept", "data.latents=require", "data.text=require")
    for name in COMPARED:
        assert (pixels / name).read_bytes() == (kept / name).read_bytes(), name
    assert len(read_lines(kept / "metrics.jsonl")) == 6
    first, second = (next((run / "samples").glob("*.png")).read_bytes() for run in (pixels, kept))
    assert first == second


def test_short_floats_change_losses_by_their_rounding(dataset, vae, tmp_path):
    config = write_config(tmp_path / "c.yaml", dataset, model={"codec": vae}, train={"steps": 3})
    pixels = read_lines(trained(config, tmp_path / "pixels") / "metrics.jsonl")
    keep(dataset, vae, "bf16")
    kept = read_lines(trained(config, tmp_path / "kept", "data.latents=require") / "metrics.jsonl")
    unequal = [abs(a["loss"] - b["loss"]) / a["loss"] for a, b in zip(pixels, kept, strict=True)]
    assert 0 < max(unequal) < 2e-3


def test_workers_read_the_cache_and_bring_the_same_packs(dataset, tmp_path):
    keep(dataset)
    setup = assemble(load_config(write_config(tmp_path / "c.yaml", dataset)), CPU)
    (parts,) = setup.phases
    assert len(parts.caches.latents) == 4

    def contents(workers: int, latents) -> tuple[list, list]:
        loader = StepLoader(parts.schedule, PackingState(), 0, 2, workers=workers, latents=latents)
        packs = [pack for step in loader for pack in step.packs]
        prepared = [prepare_pack(pack, setup.codec, setup.config.train, CPU.device) for pack in packs]
        samples = [(sample.encoded, sample.planned.index) for pack in packs for sample in pack.samples]
        return samples, [pack.clean for pack in prepared if pack is not None]

    plain, latents = contents(0, {})
    inline, same = contents(0, parts.caches.latents)
    spawned, again = contents(1, parts.caches.latents)
    assert [counter for _, counter in plain] == [counter for _, counter in inline]
    assert spawned == inline
    assert not any(encoded for encoded, _ in plain)
    assert all(encoded for encoded, _ in inline)
    for one, two, three in zip(latents, same, again, strict=True):
        assert all(a.equal(b) and a.equal(c) for a, b, c in zip(one, two, three, strict=True))


def test_the_latents_of_a_sample_do_not_depend_on_its_pack(dataset, vae):
    catalog, codec = Catalog.open([dataset]), load_codec(vae)
    numbers = range(0, len(catalog), 5)
    planned_samples = [
        make_planned_sample(n, catalog.sample_ref(n), Dropout.NONE, 32, ByteTokenizer()) for n in numbers
    ]

    def prepared(chosen):
        pack = prepare_pack(load_pack(chosen, ImageReader(32)), codec, OptimizationConfig(), CPU.device)
        assert pack is not None
        return pack

    together = prepared(planned_samples)
    alone = [prepared([planned]) for planned in planned_samples]
    assert all(a.equal(b.clean[0]) for a, b in zip(together.clean, alone, strict=True))
    references = [reference for pack in alone for reference in pack.references]
    assert all(a.equal(b) for a, b in zip(together.references, references, strict=True))


def test_an_image_shown_twice_is_drawn_twice_from_one_posterior(dataset, vae):
    catalog = Catalog.open([dataset])
    row = next(row for row in map(catalog.sample_ref, range(len(catalog))) if row.task == "colorize")
    planned = make_planned_sample(3, row, Dropout.NONE, 32, ByteTokenizer())
    twice = type(planned)(
        planned.index,
        row,
        planned.dropout,
        (1, 1),
        type(planned.layout)((*planned.layout.pieces, ()), planned.layout.references * 2, planned.layout.target),
    )
    pack = prepare_pack(load_pack([twice], ImageReader(32)), load_codec(vae), OptimizationConfig(), CPU.device)
    assert pack is not None
    first, second = pack.references
    assert not first.equal(second)
    assert (first - second).abs().mean() < 1


def lines_of(dataset: Path, tmp_path: Path, *settings: str) -> list[str]:
    config = load_config(write_config(tmp_path / "c.yaml", dataset), list(settings))
    return list(assemble(config, CPU).phases[0].caches.lines)


def test_the_opening_says_which_shards_use_a_cache_and_why_others_do_not(dataset, tmp_path, capsys):
    assert lines_of(dataset, tmp_path) == []
    keep(dataset)
    latents, prompts = lines_of(dataset, tmp_path)
    assert latents.startswith("latents of 4 of 4 shards are read from latents-dct-")
    assert latents.endswith("-32, fp32")
    assert prompts.startswith("prompts of 4 of 4 shards are read from prompts-bytes-")
    assert lines_of(dataset, tmp_path, "data.latents=never", "data.text=never") == []
    train(write_config(tmp_path / "c.yaml", dataset, train={"steps": 1}), [], "auto", tmp_path / "run")
    assert latents in capsys.readouterr().out.splitlines()

    other = lines_of(dataset, tmp_path, "data.max_side=48", "data.text=never")
    assert len(other) == 1
    assert "4 of 4 shards cannot use latents-dct-" in other[0]
    assert "not encoded (4) (there: latents-dct-" in other[0]

    shard = find_shards(dataset)[0]
    make_shards(dataset, (shard.name.split("-")[0],), sizes=((48, 32),))
    changed = lines_of(dataset, tmp_path)
    assert changed[0].startswith("latents of 3 of 4 shards")
    assert "1 of 4 shards cannot use latents-dct-" in changed[1]
    assert "the shard has changed since it was encoded (1); these are decoded and encoded" in changed[1]


def test_a_run_on_some_kept_shards_equals_one_on_none(dataset, tmp_path):
    config = write_config(tmp_path / "c.yaml", dataset, train={"steps": 4})
    pixels = trained(config, tmp_path / "pixels")
    keep(dataset)
    for path in (dataset / "encoded").rglob("colorize*.json"):
        path.unlink()
    mixed = trained(config, tmp_path / "mixed")
    assert (pixels / "metrics.jsonl").read_bytes() == (mixed / "metrics.jsonl").read_bytes()


def test_require_refuses_a_shard_without_a_valid_cache_and_says_the_command(dataset, tmp_path):
    with pytest.raises(UserError, match=r"4 of 4 .*not encoded \(4\).*Run: omnigen encode .* --codec dct:6 --side 32"):
        lines_of(dataset, tmp_path, "data.latents=require")
    with pytest.raises(UserError, match=r"data.text: require: .*Run: omnigen encode .* --tokenizer bytes"):
        lines_of(dataset, tmp_path, "data.text=require")
    keep(dataset)
    assert len(lines_of(dataset, tmp_path, "data.latents=require", "data.text=require")) == 2
    make_shards(dataset, ("denoise",), sizes=((48, 32),))
    with pytest.raises(UserError, match=r"1 of 4 shards .*the shard has changed since it was encoded \(1\)"):
        lines_of(dataset, tmp_path, "data.latents=require")


def test_mirroring_goes_before_kept_latents_and_cannot_be_had_with_required_ones(dataset, tmp_path):
    keep(dataset)
    line = lines_of(dataset, tmp_path, "data.flip=0.5", "data.text=never")[0]
    assert line.startswith(
        "images are mirrored with probability 0.5 where task and words allow it; the kept latents of 4"
    )
    with pytest.raises(UserError, match="expected flip 0 with latents: require"):
        lines_of(dataset, tmp_path, "data.flip=0.5", "data.latents=require")
    for value in ("-0.1", "1.5"):
        with pytest.raises(UserError, match=r"data.flip"):
            lines_of(dataset, tmp_path, f"data.flip={value}")


def test_half_of_a_run_is_mirrored_when_asked_and_validation_never(dataset, tmp_path):
    setup = assemble(load_config(write_config(tmp_path / "c.yaml", dataset), ["data.flip=0.5"]), CPU).phases[0]
    drawn = [setup.schedule.sample(index) for index in range(400)]
    assert 0.4 < sum(planned.mirrored for planned in drawn) / 400 < 0.6
    assert setup.validation is not None
    assert not any(planned.mirrored for planned in setup.validation.samples)
    plain = assemble(load_config(write_config(tmp_path / "c.yaml", dataset)), CPU).phases[0]
    assert not any(plain.schedule.sample(index).mirrored for index in range(400))
    pairs = [(planned, plain.schedule.sample(planned.index)) for planned in drawn]
    assert all((a.ref, a.dropout, a.layout) == (b.ref, b.dropout, b.layout) for a, b in pairs)


def test_a_mirrored_sample_trains_on_mirrored_latents(dataset):
    catalog, codec = Catalog.open([dataset]), load_codec("dct:6")
    row = catalog.sample_ref(0)
    plain, mirrored = (
        prepare_pack(
            load_pack([make_planned_sample(0, row, Dropout.NONE, 32, ByteTokenizer(), mirrored=flag)], ImageReader(32)),
            codec,
            OptimizationConfig(),
            CPU.device,
        )
        for flag in (False, True)
    )
    assert plain is not None
    assert mirrored is not None
    mean = plain.clean[0][0].flip(1)  # the first channel is the mean luma of a block
    assert torch.allclose(mirrored.clean[0][0], mean, atol=1e-5)
    assert mirrored.noise[0].equal(plain.noise[0])


def test_a_reader_without_caches_reads_pixels(dataset):
    catalog = Catalog.open([dataset])
    row, pixels = catalog.sample_ref(0), ImageReader(32)
    found = list(LatentReader({}, pixels).read(row.tar, row.images))
    assert len(found) == len(row.images)
    assert all(one.equal(other) for one, other in zip(found, pixels.read(row.tar, row.images)))
