"""The training loader: planning, decoding and collating, against webdataset with the same decoding and batching.

    python benchmarks/loader.py [--samples 1500] [--repeats 3] [--steps 8]

load: samples and target tokens a second of prepared, packed, laid-out batches, with 0, 1 and 2 worker processes, next
to webdataset's stream and shuffle buffer with the same decoder, resizing, tokenizer and layout in as many workers. The
clock starts when the first batch is there, so that starting the processes is not counted. Nothing is decoded twice.
plan: steps of one pack of 16k tokens, samples planned a second. collate: a mixed batch of four laid out, its images at
hand. train: the share of a small network's training steps spent waiting for data, from `timing.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import webdataset
import yaml
from skimage import data

from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.loader import StepLoader
from omnigen.data.loading.sample import DropoutRates, ImageReader, PlannedSample
from omnigen.data.order.packing import PackingState
from omnigen.data.order.sample_sequence import CatalogSequence
from omnigen.data.order.schedule import PackSchedule, ScheduleOptions
from omnigen.data.shards.catalog import Catalog
from omnigen.images import TOKEN_PIXELS, prepare_image
from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.prompt import build_prompt
from omnigen.tokenizer import ByteTokenizer
from x2i.image import decode, encode
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.store.shards import EncodedImage, shard_name, training_shard

SIDE, BUDGET, PER_SHARD = 256, 4096, 100
SIZES = ((384, 384), (448, 320), (320, 448), (512, 288))
WORDS = ("someone", "standing", "before", "houses", "with", "colors", "and", "shadows", "on", "a", "bright", "day")


def make_shards(root: Path, count: int) -> None:
    """Writes samples with 0 to 3 inputs and texts of 10 to 60 words, crops of real photographs as JPEG."""
    random = np.random.default_rng(0)
    pictures = [crop(getattr(data, name)(), size) for name in ("astronaut", "chelsea", "coffee") for size in SIZES]
    for start in range(0, count, PER_SHARD):
        inputs = int(random.choice(4, p=[0.5, 0.3, 0.1, 0.1]))
        with training_shard(root, shard_name(f"task_{inputs}", inputs, start // PER_SHARD)) as shard:
            for number in range(start, min(count, start + PER_SHARD)):
                chosen = [pictures[place] for place in random.integers(len(pictures), size=inputs + 1)]
                shard.add(make_sample(number, inputs, chosen, random), chosen[:-1], chosen[-1])


def crop(picture: np.ndarray, size: tuple[int, int]) -> EncodedImage:
    image = cv2.resize(np.ascontiguousarray(picture[..., :3]), size, interpolation=cv2.INTER_AREA)
    return EncodedImage(encode(image, "jpeg", 90), "jpeg")


def make_sample(number: int, inputs: int, images: list[EncodedImage], random: np.random.Generator) -> Sample:
    words = " ".join(random.choice(WORDS, int(random.integers(3, 40))))
    marks = "".join(placeholder(k) for k in range(1, inputs + 1))
    sizes = tuple(decode(image.data).shape[1::-1] for image in images)
    source, recipe = Lineage((f"u{number}",), ("",), ("",)), RecipeStamp("benchmark", 1)
    return Sample(f"sample-{number:06d}", f"task_{inputs}", f"{marks} {words}", sizes, source, recipe)


def make_schedule(root: Path, budget: int) -> PackSchedule:
    catalog = Catalog.open([root])
    rows = catalog.training_rows()
    return PackSchedule(
        CatalogSequence(catalog, rows, {task: len(numbers) for task, numbers in rows.items()}, 0),
        ByteTokenizer(),
        ScheduleOptions(0, SIDE, budget, 1, DropoutRates()),
    )


def our_batches(root: Path, workers: int) -> Iterator[PackLayout]:
    for step in StepLoader(make_schedule(root, BUDGET), PackingState(), 0, 10**9, workers=workers):
        layout = step.packs[0].layout
        assert layout is not None
        yield layout


class Decode:
    """What one sample of webdataset's goes through: the same functions that our loader uses."""

    def __init__(self) -> None:
        self.tokenizer = ByteTokenizer()

    def __call__(self, files: dict) -> tuple[SampleLayout, list[torch.Tensor]]:
        names = sorted(name for name in files if name.startswith(("input_", "output.")))
        images = [torch.from_numpy(prepare_image(decode(files[name]), SIDE).copy()) for name in names]
        grids = [Grid(image.shape[0] // TOKEN_PIXELS, image.shape[1] // TOKEN_PIXELS) for image in images]
        prompt = build_prompt(json.loads(files["json"])["instruction"], self.tokenizer)
        return SampleLayout(prompt.pieces, tuple(grids[:-1]), grids[-1]), images


def collate(samples: list) -> tuple[PackLayout, list]:
    return PackLayout.build([layout for layout, _ in samples]), [images for _, images in samples]


def their_batches(root: Path, workers: int, per_batch: int) -> Iterator[PackLayout]:
    urls = sorted(str(path) for path in (root / "shards").glob("*.tar"))
    dataset = webdataset.WebDataset(urls, shardshuffle=100, seed=0).shuffle(1000).map(Decode())
    batches = dataset.batched(per_batch, collation_fn=collate)
    loader = webdataset.WebLoader(
        batches, batch_size=None, num_workers=workers, multiprocessing_context="spawn" if workers else None
    )
    for layout, _ in loader:
        yield layout


def rates(batches: Iterator[PackLayout], samples: float) -> tuple[float, float]:
    """Returns samples and tokens a second of the batches after the first, until `samples` have come or all."""
    next(batches)
    count = tokens = 0
    started = time.perf_counter()
    for layout in batches:
        count, tokens = count + layout.num_samples, tokens + layout.num_tokens
        if count >= samples:
            break
    seconds = time.perf_counter() - started
    return count / seconds, tokens / seconds


def load(root: Path, samples: int, repeats: int) -> None:
    per_batch = next(our_batches(root, 0)).num_samples
    for workers in (0, 1, 2):
        medians = {}
        for name in ("omnigen", "webdataset"):
            runs = []
            for _ in range(repeats):
                if name == "omnigen":
                    runs.append(rates(our_batches(root, workers), samples // 2))
                else:  # to the end: its workers abort when they are stopped half-way
                    runs.append(rates(their_batches(root, workers, per_batch), float("inf")))
            medians[name] = [statistics.median(column) for column in zip(*runs)]
            each, tokens = map(round, medians[name])
            line = {"what": "load", "contender": name, "workers": workers}
            print(json.dumps({**line, "samples_per_s": each, "tokens_per_s": tokens}), flush=True)
        ratio = round(medians["omnigen"][0] / medians["webdataset"][0], 2)
        print(json.dumps({"what": "load", "workers": workers, "ratio": ratio}), flush=True)


def plan(root: Path, steps: int = 200) -> None:
    schedule, state = make_schedule(root, 16384), PackingState()
    samples = tokens = 0
    started = time.perf_counter()
    for number in range(steps):
        step = schedule.step(number, state)
        state = step.state
        samples += len(step.packs[0])
        tokens += step.num_tokens
    seconds = time.perf_counter() - started
    line = {"what": "plan", "steps": steps, "milliseconds_per_step": round(seconds / steps * 1e3, 2)}
    print(json.dumps({**line, "samples_per_s": round(samples / seconds), "fill": round(tokens / steps / 16384, 4)}))


def collation(root: Path, repeats: int = 50) -> None:
    schedule = make_schedule(root, BUDGET)
    kinds: dict[int, PlannedSample] = {}
    for index in range(200):
        planned = schedule.sample(index)
        assert planned is not None
        kinds.setdefault(planned.ref.num_inputs, planned)
    samples = list(kinds.values())[:4]
    reader = ImageReader(SIDE, files=schedule.sequence.reader())
    layout = load_pack(samples, reader).layout
    assert layout is not None
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        load_pack(samples, reader)
        seconds.append(time.perf_counter() - started)
    milliseconds = round(statistics.median(seconds) * 1e3, 3)
    line = {"what": "collate", "samples": len(samples), "tokens": layout.num_tokens}
    print(json.dumps({**line, "milliseconds": milliseconds}))


def train(root: Path, folder: Path, steps: int) -> None:
    """Trains a network of a million weights for a few steps and prints what the run says of its waiting."""
    for workers in (0, 1, 2):
        document = {
            "data": {"shards": [str(root)], "workers": workers, "max_side": SIDE, "validation_fraction": 0},
            "train": {"steps": steps, "pack_tokens": BUDGET, "threads": 1},
            "log": {"every": steps // 2, "validate_every": 0, "sample_every": 0},
        }
        config = folder / "train.yaml"
        config.write_text(yaml.safe_dump(document))
        run = folder / f"run-{workers}"
        command = [sys.executable, "-m", "omnigen.cli", "train", str(config), "--out", str(run)]
        subprocess.run(command, check=True, capture_output=True)
        last = json.loads((run / "timing.jsonl").read_text().splitlines()[-1])
        shown = {name: round(last[name], 4) for name in ("data_wait_share", "seconds_per_step", "tokens_per_second")}
        print(json.dumps({"what": "train", "workers": workers, **shown}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="Training steps; the second half is reported.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        make_shards(root, options.samples)
        plan(root)
        collation(root)
        load(root, options.samples, options.repeats)
        train(root, Path(folder), options.steps)


if __name__ == "__main__":
    main()
