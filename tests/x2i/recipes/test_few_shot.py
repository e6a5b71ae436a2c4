"""Worked examples: of other photographs than the query's and of other clusters, with the query's parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.support import photos
from tests.support.photos import photo
from x2i.recipes import make_recipe
from x2i.recipes.base import Rendered, Source
from x2i.recipes.few_shot import DIFFERENT_BITS, FewShot, ThreeShot, TwoShot
from x2i.recipes.plan import plan_samples
from x2i.recipes.render import SampleRenderer
from x2i.relate.duplicates import Duplicates
from x2i.sample import PLACEHOLDER_PATTERN
from x2i.seeding import generator
from x2i.store.query.views import Selection

KINDS = (FewShot, TwoShot, ThreeShot)


def candidates(count: int, clusters: int) -> pa.Table:
    """Candidates of one base in clusters, some of which have hashes that are near those of another cluster."""
    random = generator("candidates", count, clusters)
    hashes = random.integers(0, 2**63, count // 2).tolist()
    keys = [f"00000-{number:05d}" for number in range(count)]
    return pa.table(
        {
            "keys": pa.array([[key] for key in keys]),
            "suffix": ["-deblur"] * count,
            "base": ["deblur"] * count,
            "phash": pa.array([hashes[number % len(hashes)] ^ (number % 3) for number in range(count)], pa.uint64()),
            "cluster": [f"cluster-{number % clusters}" for number in range(count)],
            "metadata": ["{}"] * count,
        }
    )


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_of_other_clusters_and_look_different(kind: type[FewShot]) -> None:
    selected = candidates(60, 7)
    made, lost = kind(share=0.5).combine(selected)
    known = {row["keys"][0]: row for row in selected.to_pylist()}
    assert 15 <= made.num_rows <= 45
    assert made.num_rows + sum(lost.values()) == 60
    for keys in made["keys"].to_pylist():
        rows = [known[key] for key in keys]
        assert len(rows) == kind.num_examples + 1 == len({row["cluster"] for row in rows})
        hashes = [row["phash"] for row in rows]
        for place, one in enumerate(hashes):
            assert all((one ^ other).bit_count() >= DIFFERENT_BITS for other in hashes[:place])


def test_without_enough_clusters_there_is_no_sample() -> None:
    made, lost = ThreeShot(share=1.0).combine(candidates(40, 3))
    assert (made.num_rows, lost) == (0, {"no_example": 40})
    made, _ = TwoShot(share=1.0).combine(candidates(40, 3))
    assert made.num_rows == 40


def test_the_clusters_are_those_of_the_duplicates_relation(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    recipe = FewShot(bases=("deblur",), share=1.0)
    before = plan_samples(dataset, recipe, Selection()).rows["images"].to_pylist()
    apart = {photos.keys()["coffee"], photos.keys()["rocket"]}
    rows = [
        {"key": key, "cluster": key if key in apart else "all", "is_duplicate": False} for key in photos.keys().values()
    ]
    photos.relation(tmp_path, Duplicates.spec, rows)
    after = plan_samples(dataset, recipe, Selection()).rows["images"].to_pylist()
    assert any(not set(pair) & apart for pair in before)
    assert len(after) >= 8
    assert all(set(pair) & apart for pair in after)


@pytest.mark.parametrize("kind", KINDS)
def test_all_examples_are_made_with_the_parameters_of_the_query(kind: type[FewShot]) -> None:
    names = ("coffee", "chelsea", "rocket")[: kind.num_examples]
    sources = [Source(photo(name, 96)) for name in (*names, "astronaut")]
    known = {"base": "image_to_palette", "examples": ["{}"] * len(names), "query": "{}"}
    base = make_recipe("image_to_palette")
    made = kind().make(sources, known, generator("one"))
    assert isinstance(made, Rendered)
    assert len(made.inputs) == len(kind.image_slots) == 2 * len(names) + 1
    seed = int(generator("one").integers(2**62))
    for place, source in enumerate(sources):
        pair = base.pair(source, {}, generator(kind.name, base.name, seed))
        shown = made.inputs[2 * place + 1] if place < len(names) else made.output
        assert np.array_equal(made.inputs[2 * place], pair.inputs[0])
        assert np.array_equal(shown, pair.output)


@pytest.mark.parametrize("kind", [TwoShot, ThreeShot])
def test_the_words_list_every_example_before_or_after_the_query(kind: type[FewShot]) -> None:
    example = kind().example([photo("astronaut", 64), photo("coffee", 64)])
    texts = set()
    for k in range(40):
        made = kind().make(example.sources, example.metadata, generator(k))
        text = kind().instruction(f"{k}", made)
        marks = [int(number) for number in PLACEHOLDER_PATTERN.findall(text)]
        query = len(kind.image_slots)
        assert [mark for mark in marks if mark != query] == list(range(1, query))
        assert marks.count(query) == 1
        texts.add(re.sub(r"\d", "n", text))
    assert len(texts) > 25


def test_samples_of_three_examples_are_named_after_their_query(tmp_path: Path) -> None:
    dataset = photos.write_all(tmp_path)
    recipe = ThreeShot(bases=("super_resolution_real_esrgan",), share=1.0)
    planned = plan_samples(dataset, recipe, Selection(), max_samples=2)
    for row in planned.rows.to_pylist():
        assert len(row["images"]) == 4
        assert row["key"] == f"three_shot-{row['images'][-1]}-super_resolution_real_esrgan"
        assert len(json.loads(row["metadata"])["examples"]) == 3
    made = list(SampleRenderer(dataset.root, recipe, 64, 95).render(planned.rows.to_pylist()[:1]))
    assert [len(sample.inputs) for sample in made] == [7]
