"""The mixture is the one asked for, caps hold over all recipes, and nothing that is held out is seen in training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import photos
from tests.support.photos import CAPTIONS, keys
from x2i.recipes import make_recipe
from x2i.recipes.mixture import Wanted, draw, sample_counts
from x2i.recipes.plan import plan_samples
from x2i.recipes.split import parts_of
from x2i.relate.duplicates import Duplicates
from x2i.relate.subject_pairs import SubjectPairs
from x2i.relate.subject_rows import SubjectInput, SubjectRow, subject_table
from x2i.store import Dataset
from x2i.store.query.views import Selection

NAMES = "abcd"
WANTED = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(Wanted, weight=st.floats(0.1, 10), samples=st.none() | st.integers(0, 50)),
    min_size=1,
)


@given(WANTED, st.lists(st.integers(0, 200), min_size=4, max_size=4), st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_counts_are_those_asked_for_wherever_there_are_enough(wanted: dict, have: list[int], total: int) -> None:
    available = dict(zip(NAMES, have))
    counts = sample_counts(available, wanted, total)
    assert set(counts) == set(wanted)
    assert all(0 <= counts[name] <= available[name] for name in wanted)
    weighted = [name for name in wanted if wanted[name].samples is None]
    fixed = sum(counts[name] for name in wanted if name not in weighted)
    if weighted:
        assert sum(counts[n] for n in weighted) == min(max(0, total - fixed), sum(available[n] for n in weighted))
    unbounded = sample_counts(dict.fromkeys(NAMES, 10**6), wanted, total)
    whole = sum(wanted[name].weight for name in weighted)
    left = max(0, total - sum(want.samples or 0 for want in wanted.values() if want.samples is not None))
    for name in weighted:
        assert abs(unbounded[name] - left * wanted[name].weight / whole) < 1


@given(WANTED, st.lists(st.integers(0, 200), min_size=4, max_size=4), st.none() | st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_scaling_keeps_the_proportions(wanted: dict, have: list[int], total: int | None) -> None:
    available = dict(zip(NAMES, have))
    counts = sample_counts(available, wanted, total, "scale")
    weighted = [name for name in wanted if wanted[name].samples is None]
    size, whole = sum(counts[name] for name in weighted), sum(wanted[name].weight for name in weighted)
    for name in weighted:
        assert counts[name] <= available[name]
        assert abs(counts[name] - size * wanted[name].weight / whole) < 1


def candidates(images: int, recipes: str = "abc") -> pa.Table:
    rows = [
        {"recipe": recipe, "key": f"{recipe}-{k}", "images": [f"i{k}"], "hosts": [f"h{k % 5}"]}
        for recipe in recipes
        for k in range(images)
        if recipe != "c" or k < images // 10
    ]
    return pa.Table.from_pylist(rows)


def test_caps_hold_over_all_recipes_and_a_rare_recipe_does_not_starve() -> None:
    wanted = dict.fromkeys("abc", Wanted())
    drawn = draw(candidates(400), wanted, None, "fill", per_image=1, per_host=None)
    used = Counter(key.partition("-")[2] for name in drawn for key in drawn[name].to_pylist())
    assert max(used.values()) == 1
    assert len(drawn["c"]) >= 25
    drawn = draw(candidates(400), wanted, None, "fill", per_image=None, per_host=20)
    hosts = Counter(int(key.partition("-")[2]) % 5 for name in drawn for key in drawn[name].to_pylist())
    assert set(hosts.values()) == {20}
    both = draw(candidates(400), wanted, 90, "fill", per_image=2, per_host=100)
    assert sum(map(len, both.values())) == 90


def test_the_draw_depends_on_the_keys_alone() -> None:
    table, wanted = candidates(60), {"a": Wanted(3), "b": Wanted(1), "c": Wanted(1)}
    shuffled = table.take(pa.array(sorted(range(table.num_rows), key=lambda row: (row * 37) % 101)))
    one, other = (draw(rows, wanted, 25, "fill", 2, None) for rows in (table, shuffled))
    assert {name: found.to_pylist() for name, found in one.items()} == {n: f.to_pylist() for n, f in other.items()}
    assert {name: len(found) for name, found in one.items()} == {"a": 15, "b": 5, "c": 5}


@pytest.fixture
def related(tmp_path: Path) -> Dataset:
    """Photographs in a chain: two near-duplicates, one of which is in a pair with a third."""
    dataset = photos.write_photos(tmp_path / "related")
    photos.write_captions(dataset.root)
    known = keys()
    group = dict.fromkeys(known.values(), "") | {known["chelsea"]: known["coffee"], known["coffee"]: known["coffee"]}
    rows = [
        {"key": key, "cluster": key, "is_duplicate": False, "hash_group": group[key] or key} for key in known.values()
    ]
    photos.relation(dataset.root, Duplicates.spec, rows)
    pair = SubjectRow(known["coffee"], (SubjectInput(known["rocket"]),), "geometry", {"phash_distance": 30})
    photos.relation(dataset.root, SubjectPairs.spec, subject_table([pair]).to_pylist())
    return dataset


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_what_relations_join_is_in_one_part(related: Dataset, share: float) -> None:
    parts = dict(zip(*parts_of(related, share).to_pydict().values()))
    assert set(parts) == set(keys().values())
    assert len({parts[keys()[name]] for name in ("coffee", "chelsea", "rocket")}) == 1


def test_no_image_and_none_that_is_like_it_is_in_both_parts(related: Dataset) -> None:
    used: dict[str, set[str]] = {}
    for name in ("text_to_image", "deblur", "subject_pair"):
        planned = {
            part: plan_samples(related, make_recipe(name), Selection(), part=part, validation=0.4)
            for part in ("train", "validation", "all")
        }
        samples = {part: set(found.rows["key"].to_pylist()) for part, found in planned.items()}
        assert not samples["train"] & samples["validation"]
        assert samples["train"] | samples["validation"] <= samples["all"]
        for part, found in planned.items():
            used.setdefault(part, set()).update(*found.rows["images"].to_pylist())
            assert found.rows.num_rows + sum(found.not_selected.values()) == found.candidates
    assert used["train"]
    assert used["validation"]
    assert not used["train"] & used["validation"]
    joined = {keys()[name] for name in ("coffee", "chelsea", "rocket")}
    assert not (joined & used["train"]) or not (joined & used["validation"])
    assert len(CAPTIONS) == len(used["train"] | used["validation"])
