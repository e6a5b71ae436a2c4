"""What a batch costs before the network sees it: ids, layout and mask of four mixed samples, and a big pack's blocks.

    python benchmarks/collation.py [--side 1024] [--repeats 20]

Collation: instructions to ids and the layout of the pack, against the same ids and a dense additive mask per sample,
filled in row by row as lists, which is how the authors' trainer makes it. Block mask: FlexAttention's, of a pack of
16,384 tokens, from its lo and hi, against torch's `create_block_mask` asking the same two vectors for every pair.
Both must agree before they are timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from gpu_attention import pack_of
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask
from workload import grid_of

from omnigen.network.attention import flex_block_mask
from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.prompt import build_prompt
from omnigen.tokenizer import ByteTokenizer

# A caption; an edit; a condition; a subject from two images. Each with the aspect ratios of its references and target.
BATCH: tuple[tuple[str, tuple[tuple[int, int], ...], tuple[int, int]], ...] = (
    ("A wooden boat on a still lake at dawn, mist over the water and mountains far behind.", (), (4, 3)),
    ("<img><|image_1|></img> Make it winter, with snow on the roofs.", ((3, 2),), (3, 2)),
    ("Follow this depth map <img><|image_1|></img>: a red chair in an empty room.", ((1, 1),), (1, 1)),
    (
        "The dog of <img><|image_1|></img> sits beside the bicycle of <img><|image_2|></img> in a park.",
        ((3, 4), (16, 9)),
        (2, 3),
    ),
)


def tokenize(side: int) -> list[SampleLayout]:
    """Returns the samples of the batch with their ids."""
    tokenizer = ByteTokenizer()
    samples = []
    for instruction, references, target in BATCH:
        grids = tuple(grid_of(side, ratio) for ratio in references)
        samples.append(SampleLayout(build_prompt(instruction, tokenizer).pieces, grids, grid_of(side, target)))
    return samples


def dense_masks(samples: Sequence[SampleLayout]) -> Tensor:
    """Returns the mask (B, L, L) of a padded batch, conditions to the right of their padding, built as nested lists."""
    left = max(sample.condition_length for sample in samples)
    right = max(sample.target.num_tokens for sample in samples)
    length = left + 1 + right
    masks = []
    for sample in samples:
        start, end = left - sample.condition_length, left + 1 + sample.target.num_tokens
        images = _images(sample, start)
        rows = []
        for query in range(length):
            stop = end if query > left else query + 1
            stop = next((last for first, last in images if first <= query < last), stop)
            seen = range(start, stop) if start <= query < end else range(0)
            rows.append([0] * seen.start + [1] * len(seen) + [0] * (length - seen.start - len(seen)))
        masks.append(torch.tensor(rows, dtype=torch.int8))
    return torch.stack(masks)


def _images(sample: SampleLayout, start: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    grid: Grid
    for piece, grid in zip(sample.pieces, sample.references):
        start += len(piece)
        spans.append((start, start + grid.num_tokens))
        start += grid.num_tokens
    return spans


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Returns the median time of `run`, after one run."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return round(statistics.median(times), 2)


def collation(side: int, repeats: int) -> None:
    """Prints what collating the batch costs."""
    layout = PackLayout.build(tokenize(side))
    start = time.perf_counter()
    dense = dense_masks(tokenize(side))
    theirs = round((time.perf_counter() - start) * 1e3, 2)
    found, pairs = int(dense.sum()), int((layout.hi_T - layout.lo_T).sum())
    assert found == pairs, f"the masks differ: {found} pairs in the dense one, {pairs} in the layout"
    ours = milliseconds(lambda: PackLayout.build(tokenize(side)), repeats)
    tokens = layout.num_tokens
    mask = 4 * dense.numel()  # as the network takes it, in float32
    print(json.dumps({"contender": "dense masks in lists", "milliseconds": theirs, "mask_bytes": mask}))
    print(json.dumps({"contender": "layout", "milliseconds": ours, "tokens": tokens, "mask_bytes": 8 * tokens}))
    print(json.dumps({"collation, times faster": round(theirs / ours, 1)}), flush=True)


def block_mask(repeats: int) -> None:
    """Prints what the block mask of a pack of 16,384 tokens costs."""
    layout = pack_of(16384, 1024)
    lo, hi, length = layout.lo_T, layout.hi_T, layout.num_tokens

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= lo[query]) & (key < hi[query])

    def eager() -> object:
        return create_block_mask(sees, None, None, length, length, device="cpu")

    expected, found = create_block_mask(sees, None, None, length, length, device="cpu"), flex_block_mask(layout)
    assert torch.equal(found.to_dense(), expected.to_dense()), "the block masks differ"
    theirs, ours = milliseconds(eager, min(repeats, 3)), milliseconds(lambda: flex_block_mask(layout), repeats)
    print(json.dumps({"contender": "create_block_mask", "milliseconds": theirs, "tokens": length}))
    print(json.dumps({"contender": "from lo and hi", "milliseconds": ours, "tokens": length}))
    print(json.dumps({"block mask, times faster": round(theirs / ours, 1)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="longest side of the collated images in pixels")
    parser.add_argument("--repeats", type=int, default=20, help="how often each is timed")
    arguments = parser.parse_args()
    collation(arguments.side, arguments.repeats)
    block_mask(arguments.repeats)


if __name__ == "__main__":
    main()
