"""Opening a catalog: seconds and memory, for many small shards and for many rows.

    python benchmarks/catalog.py [--shards 2000] [--samples 100]

The tars are sparse, so that what is measured is the indexes and the checks. The catalog is opened in a process of its
own, once without and once with a held-out split; the time of `row` is CPU time of samples in random order. Then an
epoch is count from the same shards as a stream of eight at a time.
`--shards 10000 --samples 1000` is ten million rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from omnigen.data.order.stream import POSITION_BITS, ShardStream, StreamSequence
from omnigen.data.shards.find import find_training_shards
from x2i.store.files.atomic import write_table
from x2i.store.shards import SHARD_SCHEMA

HEADER, DATA = 512, 512  # bytes of a member's header and of its (tiny) data
NAMES = ("input_1.jpg", "json", "output.jpg")
AT_A_TIME = 8


def make_shards(folder: Path, shards: int, samples: int) -> None:
    """Writes indexes and tars of samples with one input; the sparse tars hold only what the catalog looks at."""
    for number in range(shards):
        keys = [f"colorize-{number:06d}-{place:06d}" for place in range(samples)]
        starts = np.arange(samples) * len(NAMES) * (HEADER + DATA)
        places = {name: starts + k * (HEADER + DATA) + HEADER for k, name in enumerate(NAMES)}
        with open(folder / f"colorize-1in-{number:05d}.tar", "wb") as stream:
            stream.truncate(len(NAMES) * samples * (HEADER + DATA) + 2 * HEADER)
            for place in (0, samples - 1):
                stream.seek(int(places["json"][place]) - HEADER)
                info = tarfile.TarInfo(f"{keys[place]}.json")
                info.size = DATA
                stream.write(info.tobuf(tarfile.USTAR_FORMAT))
        write_table(folder / f"colorize-1in-{number:05d}.parquet", index(keys, places), durable=False)


def index(keys: list[str], places: dict[str, np.ndarray]) -> pa.Table:
    """Returns an index: 90 letters of instruction and one uid a sample."""
    images = [list(pair) for pair in zip(places["input_1.jpg"].tolist(), places["output.jpg"].tolist())]
    texts = [f"Give color to <img><|image_1|></img>: a photograph that somebody took, called {key}." for key in keys]
    columns = {
        "key": keys,
        "task": ["colorize"] * len(keys),
        "num_inputs": [1] * len(keys),
        "instruction": texts,
        "instruction_bytes": [len(text) for text in texts],
        "image_sizes": [[[256, 192], [256, 192]]] * len(keys),
        "json_offset": places["json"],
        "json_size": [DATA] * len(keys),
        "image_names": [["input_1.jpg", "output.jpg"]] * len(keys),
        "image_offsets": images,
        "image_bytes": [[DATA, DATA]] * len(keys),
        "uids": [[f"{hash(key) & (2**64 - 1):016x}"] for key in keys],
        "recipe": ["colorize"] * len(keys),
        "scores": ["{}"] * len(keys),
        "mirrorable": [True] * len(keys),
    }
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SHARD_SCHEMA})


def open_catalog(folder: Path, fraction: float) -> dict:
    from omnigen.data.shards.catalog import Catalog

    before = memory("VmRSS")
    started = time.perf_counter()
    catalog = Catalog.open([folder], fraction)
    seconds = time.perf_counter() - started
    held = memory("VmRSS")
    started = time.perf_counter()
    catalog.fingerprint()
    hashed = time.perf_counter() - started
    numbers = np.random.default_rng(0).integers(0, len(catalog), 20_000)
    started = time.process_time()
    for number in numbers.tolist():
        catalog.sample_ref(number)
    return {
        "rows": len(catalog),
        "shards": len(catalog.shards),
        "held_out": int(catalog.held_out.sum()),
        "seconds": round(seconds, 2),
        "megabytes_held": round(held - before),
        "megabytes_peak": round(memory("VmHWM") - before),
        "fingerprint_seconds": round(hashed, 2),
        "row_microseconds": round((time.process_time() - started) / len(numbers) * 1e6, 2),
    }


def visit_stream(folder: Path) -> dict:
    """Visits one epoch; everything is chosen, as if all samples fitted."""
    before = memory("VmRSS")
    started = time.perf_counter()
    stream = ShardStream(tuple(find_training_shards([folder])), AT_A_TIME)
    sequence, number, count = StreamSequence(stream, 0, lambda catalog: np.arange(len(catalog))), 0, 0
    sequence.sample_ref(0)
    first = time.perf_counter() - started
    while number >> POSITION_BITS < stream.groups_per_epoch:
        sequence.sample_ref(number)
        number, count = sequence.next_index(number), count + 1
    return {
        "stream_of": AT_A_TIME,
        "rows": count,
        "seconds_to_first": round(first, 2),
        "draw_microseconds": round((time.perf_counter() - started - first) / count * 1e6, 2),
        "megabytes_peak": round(memory("VmHWM") - before),
    }


def memory(what: str) -> float:
    """Returns a line of the process's status, in megabytes."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{what}:")]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="Where to make the shards; by default a temporary folder.")
    parser.add_argument("--open", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream:
        print(json.dumps(visit_stream(options.folder)), flush=True)
        return
    if options.open is not None:
        print(json.dumps(open_catalog(options.folder, options.open)), flush=True)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        make_shards(Path(folder), options.shards, options.samples)
        for fraction in (0.0, 0.01):
            command = [sys.executable, __file__, "--folder", folder, "--open", str(fraction)]
            subprocess.run(command, check=True)
        subprocess.run([sys.executable, __file__, "--folder", folder, "--stream"], check=True)


if __name__ == "__main__":
    main()
