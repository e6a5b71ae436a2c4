"""`omnigen encode`: what it writes is what a codec gives, the same bytes however it was made, used only if valid."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from omnigen.cache.encode import encode
from omnigen.cache.files import invalid_reason, latents_key, prompts_key, read_record
from omnigen.cache.latents import LatentReader, find_latents
from omnigen.cache.options import EncodeOptions
from omnigen.cache.tokens import TokenCache, find_prompts
from omnigen.cli import main
from omnigen.codecs.base import load_codec
from omnigen.data.loading.sample import (
    BadSample,
    Dropout,
    ImageReader,
    LoadedSample,
    condition,
    load,
    make_planned_sample,
)
from omnigen.data.shards.catalog import Catalog
from omnigen.images import to_tensor
from omnigen.tokenizer import ByteTokenizer, load_tokenizer
from tests.support.forked import ForkedCommand
from tests.support.tiny_vae import save_tiny_vae
from tests.support.training_shards import make_sample, make_shards
from x2i.image import encode as encode_image
from x2i.sample import Lineage, RecipeStamp, Sample
from x2i.store.files.atomic import read_table
from x2i.store.shards import EncodedImage, Shard, find_shards, training_shard
from x2i.store.verify.verify import verify
from x2i.takedown.derived_files import may_still_show, remove_encoded

SIDE = 48
TASKS = ("text_to_image", "colorize", "few_shot")
SIZES = ((64, 64), (64, 32), (40, 64))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "data", TASKS, names=("coffee", "chelsea", "moon"), sizes=SIZES)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sdxl:{save_tiny_vae(tmp_path_factory.mktemp('vae'))}"


def run(dataset: Path, codec: str = "dct:6", **options: object) -> dict:
    values = {"side": (SIDE,), "tokenizer": None, "dtype": "fp32", "device": "cpu", **options}
    return encode([dataset], EncodeOptions(codec, **values))  # type: ignore[arg-type]


def written(dataset: Path) -> dict[str, bytes]:
    root = dataset / "encoded"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def damage(shard: Shard, row: int, image: int) -> None:
    with open(shard.tar, "r+b") as stream:
        stream.seek(shard.index().to_pylist()[row]["image_offsets"][image])
        stream.write(b"no image" * 20)


def both_ways(dataset: Path, codec_name: str) -> list[tuple]:
    """Every sample of the dataset loaded from its pixels and from the cache."""
    codec, catalog = load_codec(codec_name), Catalog.open([dataset])
    found, _ = find_latents(catalog.shards, latents_key(codec, SIDE), codec.posterior_channels)
    assert len(found) == len(catalog.shards)
    pixels = ImageReader(SIDE)
    reader = LatentReader(found, pixels)
    planned_samples = [
        make_planned_sample(n, catalog.sample_ref(n), Dropout.NONE, SIDE, ByteTokenizer()) for n in range(len(catalog))
    ]
    return [(load(planned, pixels), load(planned, reader)) for planned in planned_samples]


@pytest.mark.parametrize("name", ["dct:6", "vae"])
def test_what_is_read_is_what_the_codec_gives_for_every_image_in_its_order(dataset, vae, name):
    name = vae if name == "vae" else name
    codec = load_codec(name)
    run(dataset, name)
    pairs = both_ways(dataset, name)
    assert len(pairs) == 27
    for plain, cached in pairs:
        assert isinstance(plain, LoadedSample)
        assert isinstance(cached, LoadedSample)
        assert cached.encoded
        assert not plain.encoded
        assert len(plain.references) == len(cached.references) == plain.planned.ref.num_inputs
        images = zip((plain.target, *plain.references), (cached.target, *cached.references))
        for pixels, posterior in images:
            assert posterior.equal(codec.posterior(to_tensor(pixels.numpy())[None])[0])
        assert (plain.edit_input is None) == (cached.edit_input is None)


@pytest.mark.parametrize(("dtype", "bound"), [("bf16", 2**-8), ("fp16", 2**-11)])
def test_short_floats_keep_what_their_mantissa_holds(dataset, vae, dtype, bound):
    codec = load_codec(vae)
    run(dataset, vae, dtype=dtype)
    for plain, cached in both_ways(dataset, vae):
        exact = codec.posterior(to_tensor(plain.target.numpy())[None])[0]
        assert cached.target.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
        assert ((cached.target.float() - exact).abs() <= bound * exact.abs() + 1e-6).all()


def test_the_file_opens_in_the_safetensors_library_where_the_index_says(dataset):
    run(dataset, dtype="bf16")
    codec = load_codec("dct:6")
    for shard in find_shards(dataset):
        key = latents_key(codec, SIDE)
        file = dataset / "encoded" / key.folder / f"{shard.name}.safetensors"
        rows = read_table(file.with_suffix(".parquet")).to_pylist()
        samples = shard.index().to_pylist()
        assert sorted((row["row"], row["image"]) for row in rows) == [
            (n, image + 1) for n, sample in enumerate(samples) for image in range(len(sample["image_offsets"]))
        ]
        with safe_open(file, "pt") as tensors:
            assert tensors.metadata()["codec"] == codec.fingerprint
            assert set(tensors.keys()) == {row["tensor"] for row in rows}
            for row in rows:
                assert samples[row["row"]]["key"] == row["key"]
                inside = tensors.get_tensor(row["tensor"])[row["position"]]
                raw = file.read_bytes()[row["start"] : row["start"] + row["bytes"]]
                assert inside.contiguous().view(torch.uint8).numpy().tobytes() == raw
                assert inside.shape == (6, row["height"], row["width"])


def test_the_bytes_depend_on_neither_batch_nor_workers(dataset, vae):
    for codec in ("dct:6", vae):
        shutil.rmtree(dataset / "encoded", ignore_errors=True)
        run(dataset, codec, batch=1, workers=0)
        first = written(dataset)
        assert first
        for batch, workers in ((2, 0), (5, 3), (64, 1)):
            shutil.rmtree(dataset / "encoded")
            run(dataset, codec, batch=batch, workers=workers)
            assert written(dataset) == first


def test_what_is_there_and_valid_is_left_alone(dataset):
    assert run(dataset)["caches"][0] | {"bytes": 0} == {
        "cache": latents_key(load_codec("dct:6"), SIDE).folder,
        "shards": 3,
        "valid": 0,
        "reasons": {"not encoded": 3},
        "images": 9 + 18 + 36,
        "prompts": 0,
        "undecodable": {},
        "bytes": 0,
        "removed": 0,
    }
    before = {path: path.stat().st_mtime_ns for path in (dataset / "encoded").rglob("*.*")}
    assert run(dataset)["caches"][0]["valid"] == 3
    assert {path: path.stat().st_mtime_ns for path in (dataset / "encoded").rglob("*.*")} == before
    assert run(dataset, dtype="bf16")["caches"][0]["reasons"] == {"dtype is fp32": 3}


def test_a_dry_run_writes_nothing_and_tells_the_size_to_the_byte(dataset):
    told = run(dataset, dry_run=True)["caches"][0]
    assert not (dataset / "encoded").exists()
    run(dataset)
    assert told["images"] == 63
    assert told["bytes"] == sum(path.stat().st_size for path in (dataset / "encoded").rglob("*.safetensors"))


@pytest.mark.slow
def test_killed_anywhere_and_continued_the_bytes_are_those_of_one_run(tmp_path):
    names = ("coffee", "chelsea", "moon", "grass", "rocket")
    sizes = ((256, 256), (200, 256))
    dataset = make_shards(tmp_path / "data", (*TASKS, "denoise", "inpaint"), names=names, sizes=sizes)
    options = ["--codec", "dct:24", "--side", "256,128", "--tokenizer", "bytes", "--dtype", "fp32", "--device", "cpu"]
    command = ["omnigen", "encode", str(dataset), *options]

    def files(pattern: str) -> int:
        return len(list((dataset / "encoded").rglob(pattern)))

    # Once while a file is being written, once between two shards.
    for pattern in ("*.safetensors.tmp-*", "*.json"):
        before = files(pattern)
        process = ForkedCommand(command)
        while process.poll() is None and files(pattern) <= before:
            time.sleep(0.001)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert 1 <= files("*.json") < 15
    assert main_exit(["encode", str(dataset), *options]) == 0
    continued = written(dataset)
    assert not [name for name in continued if ".tmp-" in name]
    again = make_shards(tmp_path / "again", (*TASKS, "denoise", "inpaint"), names=names, sizes=sizes)
    assert main_exit(["encode", str(again), *options]) == 0
    assert continued == written(again)


def main_exit(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_an_undecodable_image_is_recorded_and_leaves_the_slot_that_training_without_a_cache_leaves(dataset):
    shard = next(shard for shard in find_shards(dataset) if shard.name.startswith("colorize"))
    damage(shard, 2, 0)
    damage(shard, 4, 1)
    entry = run(dataset)["caches"][0]
    assert entry["undecodable"] == {"not_an_image": 2}
    bad = [(plain, cached) for plain, cached in both_ways(dataset, "dct:6") if isinstance(cached, BadSample)]
    assert len(bad) == 2
    assert all(plain == cached for plain, cached in bad)
    assert ["input 1" in cached.reason for _, cached in bad] == [True, False]


def test_a_shard_that_changed_makes_its_cache_stale_and_only_that_is_made_again(dataset):
    run(dataset, tokenizer="bytes")
    key, words = latents_key(load_codec("dct:6"), SIDE), prompts_key(ByteTokenizer())
    shards = find_shards(dataset)
    changed = next(shard for shard in shards if shard.name.startswith("colorize"))
    made = [make_sample("colorize", name, (64, 64)) for name in ("coffee", "rocket")]
    with training_shard(dataset, changed.name) as writer:
        for sample, inputs, output in made:
            writer.add(sample, inputs, output)
    for one in (key, words):
        assert [invalid_reason(shard, one) for shard in shards] == [
            "the shard has changed since it was encoded",
            "",
            "",
        ]
    summary = run(dataset, tokenizer="bytes")
    assert [cache["reasons"] for cache in summary["caches"]] == [{"the shard has changed since it was encoded": 1}] * 2
    assert [invalid_reason(shard, key) for shard in shards] == ["", "", ""]
    assert len(both_ways(dataset, "dct:6")) == 20


def test_other_weights_under_the_same_name_are_another_codec(dataset, tmp_path):
    folder = save_tiny_vae(tmp_path / "vae", seed=0)
    run(dataset, f"sdxl:{folder}")
    first = latents_key(load_codec(f"sdxl:{folder}"), SIDE)
    save_tiny_vae(folder, seed=1)
    second = latents_key(load_codec(f"sdxl:{folder}"), SIDE)
    assert first.folder != second.folder
    assert {invalid_reason(shard, second) for shard in find_shards(dataset)} == {"not encoded"}
    moved = save_tiny_vae(tmp_path / "elsewhere", seed=0)
    assert latents_key(load_codec(f"sdxl:{moved}"), SIDE) == first


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda record: record["identity"].update(format_version=0), "of another codec, tokenizer, side or format"),
        (lambda record: record["identity"].update(side=64), "of another codec, tokenizer, side or format"),
        (lambda record: record["shard"].update(tar_bytes=1), "the shard has changed since it was encoded"),
        (lambda record: record.update(outputs={}), "its record names no files"),
        (lambda record: record.clear(), "of another codec, tokenizer, side or format"),
    ],
)
def test_a_record_that_does_not_agree_is_not_used(dataset, change, reason):
    run(dataset)
    key, shard = latents_key(load_codec("dct:6"), SIDE), find_shards(dataset)[0]
    path = dataset / "encoded" / key.folder / f"{shard.name}.json"
    record = read_record(shard, key)
    change(record)
    path.write_text(json.dumps(record))
    assert invalid_reason(shard, key) == reason
    path.write_text("{half a rec")
    assert invalid_reason(shard, key) == "not encoded"
    run(dataset)
    assert invalid_reason(shard, key) == ""


def test_a_cache_that_was_cut_or_lost_is_not_used(dataset):
    run(dataset)
    key, shards = latents_key(load_codec("dct:6"), SIDE), find_shards(dataset)
    folder = dataset / "encoded" / key.folder
    os.truncate(folder / f"{shards[0].name}.safetensors", 100)
    (folder / f"{shards[1].name}.parquet").unlink()
    assert "has 100 bytes, its record says" in invalid_reason(shards[0], key)
    assert invalid_reason(shards[1], key) == f"{shards[1].name}.parquet is missing"


def test_a_damaged_posterior_is_a_bad_sample_and_never_trained_on(dataset):
    run(dataset)
    codec, shard = load_codec("dct:6"), find_shards(dataset)[0]
    file = dataset / "encoded" / latents_key(codec, SIDE).folder / f"{shard.name}.safetensors"
    place = read_table(file.with_suffix(".parquet")).to_pylist()[3]
    with open(file, "r+b") as stream:
        stream.seek(place["start"] + 5)
        byte = stream.read(1)
        stream.seek(place["start"] + 5)
        stream.write(bytes([byte[0] ^ 1]))
    bad = [cached for _, cached in both_ways(dataset, "dct:6") if isinstance(cached, BadSample)]
    assert [one.key for one in bad] == [place["key"]]
    assert "are damaged; encode it again" in bad[0].reason


def test_files_of_shards_that_are_gone_are_deleted_and_dots_in_names_are_no_mistake(tmp_path):
    folder = make_shards(tmp_path / "data", ("colorize", "denoise"), names=("moon",)) / "shards"
    for path in list(folder.glob("denoise*")):
        path.rename(folder / f"part.1.{path.name}")
    dataset = folder.rename(tmp_path / "plain")
    run(dataset)
    assert len(written(dataset)) == 6
    for path in list(dataset.glob("colorize*")):
        path.unlink()
    assert run(dataset)["caches"][0]["removed"] == 3
    assert {name.split("/")[1] for name in written(dataset)} == {
        f"part.1.denoise-1in-00000.{suffix}" for suffix in ("json", "parquet", "safetensors")
    }


def test_ranks_share_the_shards(dataset, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, count in ((0, 2), (1, 1)):
        monkeypatch.setenv("RANK", str(rank))
        assert run(dataset)["caches"][0]["shards"] == count
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert run(dataset)["caches"][0]["valid"] == 3


def test_a_dataset_with_caches_verifies_as_before(dataset):
    before = verify(dataset)
    run(dataset, tokenizer="bytes")
    after = verify(dataset)
    assert (after.findings, after.samples) == (before.findings, before.samples)


def test_a_takedown_leaves_no_latents_of_the_shards_it_changes(dataset):
    run(dataset, tokenizer="bytes")
    changed, *others = sorted(path.stem for path in (dataset / "shards").glob("*.tar"))
    assert remove_encoded(dataset, {changed}) > 0
    left = {path.stem for path in (dataset / "encoded").glob("*/*") if path.is_file()}
    assert left >= set(others)
    assert changed not in left
    assert may_still_show(dataset) == []


class Forgetful(ByteTokenizer):
    """Knows the template alone: whoever asks it for the words of an instruction is told off."""

    def encode(self, text: str) -> list[int]:
        if any(word in text for word in ("photograph", "color", "Input")):
            raise AssertionError(f"the tokenizer was asked for {text!r}")
        return super().encode(text)


def hugging_face_tokenizer(folder: Path) -> str:
    """A byte-level BPE tokenizer as transformers saves it, trained on a few sentences."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["A photograph of coffee.", "Give color to it.", "Input: Output:"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>").save_pretrained(folder)
    return f"hf:{folder}"


@pytest.mark.parametrize("name", ["bytes", "hf"])
def test_kept_prompts_are_those_of_the_tokenizer_for_every_kind_of_dropout(dataset, tmp_path, name):
    name = hugging_face_tokenizer(tmp_path / "tokenizer") if name == "hf" else name
    tokenizer = load_tokenizer(name)
    run(dataset, None, side=(), tokenizer=name)
    catalog = Catalog.open([dataset])
    files, problems = find_prompts(catalog.shards, prompts_key(tokenizer))
    assert not problems
    cache = TokenCache(files, Forgetful() if name == "bytes" else tokenizer)
    for number in range(len(catalog)):
        row = catalog.sample_ref(number)
        for dropout in Dropout:
            expected = condition(row.instruction, row.num_inputs, dropout, tokenizer)
            assert cache.find(row, dropout) == expected
            kept = make_planned_sample(0, row, dropout, SIDE, tokenizer, cache)
            assert kept == make_planned_sample(0, row, dropout, SIDE, tokenizer)


def test_prompts_with_odd_spaces_and_repeated_images_are_kept_as_they_are(tmp_path):
    text = "  Two\tspaces  <img><|image_1|></img>and again <img><|image_1|></img>,<img><|image_2|></img>\n é漢 "
    pixels = EncodedImage(encode_image(np.zeros((32, 32, 3), np.uint8), "png"), "png")
    source = Lineage(("u",), ("https://photos.test/u",), ("CC0-1.0",))
    with training_shard(tmp_path, "edit-2in-00000") as writer:
        sample = Sample("edit-1", "edit", text, ((32, 32),) * 3, source, RecipeStamp("edit", 1, {}))
        writer.add(sample, [pixels, pixels], pixels)
    run(tmp_path, None, side=(), tokenizer="bytes")
    catalog, tokenizer = Catalog.open([tmp_path]), ByteTokenizer()
    files, _ = find_prompts(catalog.shards, prompts_key(tokenizer))
    for dropout in Dropout:
        assert TokenCache(files, tokenizer).find(catalog.sample_ref(0), dropout) == condition(
            text, 2, dropout, tokenizer
        )


def test_another_vocabulary_is_another_tokenizer(tmp_path):
    first = hugging_face_tokenizer(tmp_path / "one")
    document = json.loads((tmp_path / "one" / "tokenizer.json").read_text())
    key = prompts_key(load_tokenizer(first))
    document["model"]["merges"].pop()
    (tmp_path / "one" / "tokenizer.json").write_text(json.dumps(document))
    assert prompts_key(load_tokenizer(first)) != key
    assert prompts_key(load_tokenizer(hugging_face_tokenizer(tmp_path / "two"))) == key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}"], "nothing to encode"),
        (["{data}", "--codec", "dct"], "--codec and --side belong together"),
        (["{data}", "--side", "32", "--tokenizer", "bytes"], "--codec and --side belong together"),
        (["{data}", "--codec", "dct", "--side", "32,big"], "--side big: expected whole numbers of at least 16"),
        (["{data}", "--codec", "dct", "--side", "8"], "--side 8: expected"),
        (["{data}", "--codec", "dct", "--side", "32", "--dtype", "bf61"], "did you mean 'bf16'"),
        (["{data}", "--codec", "dct", "--side", "32", "--device", "tpu"], "expected auto, cpu or cuda"),
        (["{data}", "--codec", "vae", "--side", "32"], "no codec 'vae'"),
        (["{data}/none", "--codec", "dct", "--side", "32"], "no such folder"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(dataset, capsys, arguments, message):
    assert main_exit(["encode", *(argument.replace("{data}", str(dataset)) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (dataset / "encoded").exists()


def test_the_summary_is_json_on_request(dataset, capsys):
    assert main_exit(["encode", str(dataset), "--codec", "dct:6", "--side", "32,48", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [cache["images"] for cache in summary["caches"]] == [63, 63]
