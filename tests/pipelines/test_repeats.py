"""repeats counts the images that have the same words, and counts anew when one is taken down."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.relate.caption_repeats import CaptionRepeatsStage
from tests.support.command_line import typed
from tests.support.stored_images import Given, store
from x2i.annotate.captions import Captions
from x2i.store import Dataset
from x2i.takedown.tables import rewrite_rows

INLINE = RunOptions(executor=Executor.INLINE)
CAT = "窓のそばに座っている猫"
CAPTIONS = [
    "A red bus in town",
    "a red bus, in town!",
    "A red car in town",
    "",
    "Chair model 12",
    "Chair model 7",
    CAT,
]


def captioned(root: Path, captions: list[str]) -> Dataset:
    dataset = store(root, [Given(np.full((32, 32, 3), 9, np.uint8), alt=text) for text in captions])
    execute([AnnotateStage(Captions())], dataset, INLINE)
    return dataset


def counted(dataset: Dataset) -> dict[int, tuple[int, int]]:
    """Returns for each picture the number of the first one with its words, and how many have them."""
    keys = dataset.images()["key"].to_pylist()
    rows = dataset.relation("caption_repeats").to_pylist()
    return {keys.index(row["key"]): (keys.index(row["first"]), row["images"]) for row in rows}


def test_captions_that_differ_in_case_marks_or_numbers_are_the_same(tmp_path: Path) -> None:
    dataset = captioned(tmp_path / "d", CAPTIONS)
    assert typed("repeats", dataset.root, "--executor", "inline") == 0
    assert counted(dataset) == {0: (0, 2), 1: (0, 2), 2: (2, 1), 4: (4, 2), 5: (4, 2), 6: (6, 1)}
    assert typed("select", dataset.root, "caption_repeats.images = 1", "--json") == 0


def test_the_counts_are_those_of_counting_and_a_takedown_counts_anew(tmp_path: Path) -> None:
    chance = random.Random(0)
    captions = [chance.choice(["one dog here", "two cats there", "a tall tower", "my grey house"]) for _ in range(23)]
    dataset = captioned(tmp_path / "d", captions)
    execute([CaptionRepeatsStage()], dataset, INLINE)
    times = Counter(captions)
    assert counted(dataset) == {n: (captions.index(text), times[text]) for n, text in enumerate(captions)}
    keys = dataset.images()["key"].to_pylist()
    going = {keys[0], keys[9]}
    before = dataset.relation("caption_repeats").schema
    rewrite_rows(dataset, "relations/caption_repeats.parquet", going)
    left = [(key, text) for key, text in zip(keys, captions) if key not in going]
    times = Counter(text for _, text in left)
    first = {text: key for key, text in reversed(left)}
    expected = [{"key": key, "first": first[text], "images": times[text]} for key, text in left]
    assert dataset.relation("caption_repeats").to_pylist() == expected
    assert dataset.relation("caption_repeats").schema.metadata == before.metadata
