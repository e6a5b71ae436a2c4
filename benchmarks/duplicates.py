"""Near and semantic duplicates among many images: seconds and memory of grouping hashes and embeddings.

    python benchmarks/duplicates.py [--hashes 1000000] [--vectors 100000] [--dimensions 512] [--searches exact,cells]

hashes: 64-bit perceptual hashes, a third of them up to 6 bits from another one; their 16-bit bands are unevenly
frequent, as those of photographs are. Grouped at distance 6. long_hashes: the same for 256-bit ones, at distance 31.
vectors: unit vectors in bunches, a third of them copies with noise of cosine 0.96 to 1; grouped at cosine 0.95, by an
exact search and by one in near cells, with a representative of each group. Each part runs in a process of its own,
which says how much memory it held at most. What the images look like is not part of this.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2i.relate.duplicates import groups
from x2i.relate.near import clusters, near_pairs
from x2i.relate.semantic_duplicates import SemanticDuplicates
from x2i.relate.similar import representatives, similar_groups
from x2i.seeding import generator

DISTANCE, LONG_DISTANCE, SIMILARITY = 6, 31, 0.95
COPIES = 1 / 3
BUNCHES = 2000
BLOCK = 1 << 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--searches", default="exact,cells")
    options = parser.parse_args()
    print(json.dumps({"cores": os.cpu_count(), "load": [round(load, 1) for load in os.getloadavg()]}))
    if options.hashes:
        alone(group_hashes, options.hashes, 1, DISTANCE)
        alone(group_hashes, options.hashes, 4, LONG_DISTANCE)
    for search in options.searches.split(",") if options.vectors else ():
        alone(group_vectors, options.vectors, options.dimensions, search)


def alone(part: Callable[..., dict[str, Any]], *arguments: int | str) -> None:
    """Runs a part in a fresh process, which prints what it measured."""
    process = multiprocessing.get_context("spawn").Process(target=measured, args=(part, arguments))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def measured(part: Callable[..., dict[str, Any]], arguments: tuple[int | str, ...]) -> None:
    found = part(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    load = [round(load, 1) for load in os.getloadavg()]
    print(json.dumps({"part": part.__name__, **found, "peak_gigabytes": round(peak, 2), "load": load}), flush=True)


def group_hashes(count: int, words: int, distance: int) -> dict[str, Any]:
    hashes_NW = np.stack([make_hashes(count, word) for word in range(words)], axis=1)
    started, work = time.perf_counter(), time.process_time()
    pairs_P2 = near_pairs(hashes_NW, distance)
    group_N = clusters(count, pairs_P2)
    times = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - work}
    found = {"pairs": len(pairs_P2), "groups": len(np.unique(group_N))}
    return {"hashes": count, "bits": 64 * words, "distance": distance, **rounded(times), **found}


def group_vectors(count: int, dimensions: int, search: str) -> dict[str, Any]:
    with tempfile.TemporaryFile() as file:
        vectors_ND = np.memmap(file, np.float32, "w+", shape=(count, dimensions))
        make_vectors(vectors_ND)
        started, work = time.perf_counter(), time.process_time()
        cells = None if search == "exact" else SemanticDuplicates().cells
        group_N = similar_groups(vectors_ND, np.arange(count), SIMILARITY, cells)
        kept = count
        for rows in groups(group_N):
            kept_R, _ = representatives(vectors_ND, rows, SIMILARITY)
            kept -= len(rows) - len(np.unique(kept_R))
        times = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - work}
    return {"vectors": count, "dimensions": dimensions, "search": search, **rounded(times), "kept": kept}


def make_hashes(count: int, word: int) -> NDArray[np.uint64]:
    """Returns 64 bits of each hash; a third of the rows are copies with bits flipped, of the same rows in each word."""
    random = generator("benchmark", "hashes", word)
    bands_4N = (65536 * random.random((4, count)) ** 1.5).astype(np.uint64)
    hashes_N = bands_4N[0] | bands_4N[1] << np.uint64(16) | bands_4N[2] << np.uint64(32) | bands_4N[3] << np.uint64(48)
    copies = int(count * COPIES)
    originals = hashes_N[generator("benchmark", "copied").integers(copies, count, copies)]
    for _ in range(DISTANCE):  # some of the bits hit are hit twice, or not flipped
        flipped = np.uint64(1) << random.integers(0, 64, copies).astype(np.uint64)
        originals = np.where(random.random(copies) < 0.6, originals ^ flipped, originals)
    hashes_N[:copies] = originals
    return hashes_N


def make_vectors(vectors_ND: NDArray[np.float32]) -> None:
    random = generator("benchmark", "vectors")
    count, dimensions = vectors_ND.shape
    bunch_BD = random.standard_normal((BUNCHES, dimensions), np.float32)
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        size = rows.stop - rows.start
        block = bunch_BD[random.integers(0, BUNCHES, size)] + random.standard_normal((size, dimensions), np.float32)
        copies = int(size * COPIES)
        noise = random.uniform(0, 0.28, (copies, 1)).astype(np.float32)
        source = block[random.integers(copies, size, copies)]
        scale = np.linalg.norm(source, axis=1, keepdims=True) / np.sqrt(dimensions, dtype=np.float32)
        block[:copies] = source + noise * scale * random.standard_normal((copies, dimensions), np.float32)
        vectors_ND[rows] = block / np.linalg.norm(block, axis=1, keepdims=True)


def rounded(times: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in times.items()}


if __name__ == "__main__":
    main()
