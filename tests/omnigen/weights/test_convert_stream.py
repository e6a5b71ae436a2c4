"""Converting is a stream: little memory for any network, whole or nothing, and the same bytes after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from omnigen.network.config import preset
from omnigen.network.model import OmniGen
from omnigen.weights import load_model, save_model
from omnigen.weights.convert import convert
from omnigen.weights.options import Conversion, parse_size
from omnigen.weights.tensor_reader import in_memory, open_safetensors
from omnigen.weights.writer import assign_files, write
from tests.support.forked import ForkedCommand, run_forked
from tests.support.model_folders import equal, tensors
from tests.support.tiny_network import CONFIG, random_model
from x2i.errors import UserError

MEGABYTE = 1e6
# Reports how far resident memory rose, all of it and the part that is not of files, sampled while it works. A small
# network goes first, so that what torch loads lazily is not counted.
MEASURED = """
import json, sys, threading
from pathlib import Path
from omnigen.weights.convert import convert
from omnigen.weights.options import Conversion

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

source, out, small, layout, dtype, shard = sys.argv[1:]
convert(Path(small), Path(out + "-small"), Conversion(layout, dtype, int(shard)))
before, peak, done = status("VmRSS:"), {"VmRSS:": 0, "RssAnon:": 0}, threading.Event()
anonymous = status("RssAnon:")
def watch():
    while not done.wait(0.002):
        for name in peak:
            peak[name] = max(peak[name], status(name))
watcher = threading.Thread(target=watch)
watcher.start()
convert(Path(source), Path(out), Conversion(layout, dtype, int(shard)))
done.set()
watcher.join()
print(json.dumps({"rss": peak["VmRSS:"] - before, "anonymous": peak["RssAnon:"] - anonymous}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 90 million parameters, 380 MB; its largest tensor is 49 MB."""
    config = preset(
        "tiny", hidden_size=1024, num_heads=8, num_layers=6, intermediate_size=2816, vocab_size=12000, in_channels=4
    )
    folder = tmp_path_factory.mktemp("large")
    save_model(folder, config, OmniGen.initialized(config, 0).state_dict(), tokenizer="bytes", codec="dct:4")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "dtype"), [("diffusers", "keep"), ("official", "bf16")])
def test_memory_is_a_few_tensors_not_the_network(large: Path, tmp_path: Path, layout: str, dtype: str) -> None:
    size = (large / "model.safetensors").stat().st_size
    assert size > 350 * MEGABYTE
    save_model(tmp_path / "small", CONFIG, random_model().state_dict(), tokenizer="bytes", codec="dct:4")
    arguments = [large, tmp_path / "out", tmp_path / "small", layout, dtype, 10**8]
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    measured = subprocess.run(command, check=True, capture_output=True, text=True)
    growth = json.loads(measured.stdout.splitlines()[-1])
    # The largest tensor (49 MB) as read from the file's mapping, and as it is written if that is another dtype.
    assert growth["rss"] < 100 * MEGABYTE, growth
    assert growth["anonymous"] < 50 * MEGABYTE, growth
    place = tmp_path / "out" / ("transformer" if layout == "diffusers" else "")
    shards = sorted(place.glob("*.safetensors"))
    assert len(shards) > 1
    assert all(path.stat().st_size <= 100 * MEGABYTE + 1e5 for path in shards)


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_and_gives_the_same_bytes_when_run_again(
    large: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    convert(large, whole, Conversion("diffusers", max_shard_size=10**8))
    arguments = ["convert", large, out, "--to", "diffusers", "--max-shard-size", "100MB"]
    command = ["omnigen", *arguments]
    process = ForkedCommand(command)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out.tmp-*/transformer/*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert len(list(tmp_path.glob("out.tmp-*"))) == 1
    assert run_forked(command).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    for name in files:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_every_dtype_shape_and_shard_size_is_read_back_by_the_library(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool)
    state = {f"t{i}": torch.randn(3, i + 1, generator=generator).to(dtype) for i, dtype in enumerate(dtypes)}
    state |= {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 4), "strided": torch.randn(6, 4).t()}
    state["nan"] = torch.tensor([float("nan"), float("inf"), -0.0])
    for size in (1, 20, 60, 10**6):
        folder = tmp_path / str(size)
        write(
            folder,
            assign_files({name: in_memory(t) for name, t in state.items()}, lambda n: (n,), "m.safetensors", size),
        )
        assert equal(tensors(folder), state)
        for path in folder.glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                assert file.metadata() == {"format": "pt"}
            read = {name: one.read() for name, one in open_safetensors(path).items()}
            assert equal(read, load_file(path))
        index = folder / "m.safetensors.index.json"
        assert index.exists() == (size < 10**6)
        if index.exists():
            document = json.loads(index.read_text())
            assert set(document["weight_map"]) == set(state)
            assert document["metadata"]["total_size"] == sum(t.numel() * t.itemsize for t in state.values())


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5 * 10**9), ("0.5 mb", 500_000), ("2GiB", 2**31), ("77", 77), ("1e3", 0), ("-1GB", 0)]
)
def test_sizes(text: str, size: int) -> None:
    if size:
        assert parse_size(text) == size
    else:
        with pytest.raises(UserError, match="such as 5GB"):
            parse_size(text)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A folder of ours in several files."""
    save_model(tmp_path / "one", CONFIG, random_model().state_dict(), tokenizer="bytes", codec="dct:4")
    convert(tmp_path / "one", tmp_path / "many", Conversion(max_shard_size=400_000))
    assert equal(load_model(tmp_path / "many").model.state_dict(), random_model().state_dict())
    return tmp_path / "many"


def test_damaged_shards_are_named(sharded: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            load_model(sharded)
        with pytest.raises(UserError, match=message):
            convert(sharded, tmp_path / "never", Conversion("official"))
        assert not (tmp_path / "never").exists()

    second = sorted(sharded.glob("model-00002-of-*.safetensors"))[0]
    whole = second.read_bytes()
    for damaged in (whole[:-1], whole[:50], b"", b"\xff" * 100):
        second.write_bytes(damaged)
        refused(f"{second.name}: not a whole safetensors file")
    second.unlink()
    refused(f"files are not there, the first {second.name}")
    second.write_bytes(whole)
    state = load_file(second)
    name = next(iter(state))
    save_file({("x" if key == name else key): tensor for key, tensor in state.items()}, second)
    refused("weight_map says that")
    first = sharded / second.name.replace("00002", "00001")
    for other, place in (("y", "no file"), (next(iter(load_file(first))), first.name)):
        save_file({**state, other: torch.ones(1)}, second)
        refused(rf"weight_map: {other}: found {place}, expected {second.name}, which holds it;")
    second.write_bytes(whole)
    index = sharded / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    index.write_text(
        json.dumps({**document, "weight_map": {**document["weight_map"], "x": "../one/model.safetensors"}})
    )
    refused("expected the name of a file beside it")
    for content in ("[]", "{}", '{"weight_map": []}', "[" * 100_000):
        index.write_text(content)
        refused(r"model\.safetensors\.index\.json: (expected|weight_map: found|nested)")
    index.unlink()
    refused(r"model\.safetensors\.index\.json: no such file, though shards such as model-00001-of-")
    for shard in sharded.glob("*.safetensors"):
        shard.unlink()
    refused("no such file, nor its shards")


def test_a_wrong_name_is_told_with_the_nearest(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    file = sharded / document["weight_map"]["llm.norm.weight"]
    state = load_file(file)
    state["llm.nrom.weight"] = state.pop("llm.norm.weight")
    save_file(state, file)
    document["weight_map"]["llm.nrom.weight"] = document["weight_map"].pop("llm.norm.weight")
    index.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"unknown \['llm.nrom.weight'\], did you mean 'llm.norm.weight'"):
        load_model(sharded)


def test_quantized_weights_are_refused(tmp_path: Path) -> None:
    state = random_model().state_dict()
    state["llm.norm.weight"] = state["llm.norm.weight"].to(torch.int8)
    save_model(tmp_path, CONFIG, state, tokenizer="bytes", codec="dct:4")
    with pytest.raises(UserError, match=r"llm\.norm\.weight: found torch\.int8"):
        load_model(tmp_path)


def test_a_position_table_that_was_left_out_is_computed(tmp_path: Path) -> None:
    state = random_model().state_dict()
    table = state.pop("pos_embed")
    save_model(tmp_path / "in", CONFIG, state, tokenizer="bytes", codec="dct:4")
    assert torch.equal(load_model(tmp_path / "in").model.pos_embed, table)
    convert(tmp_path / "in", tmp_path / "out", Conversion("diffusers"))
    assert torch.equal(tensors(tmp_path / "out" / "transformer")["patch_embedding.pos_embed"], table)
