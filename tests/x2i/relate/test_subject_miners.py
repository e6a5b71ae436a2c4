"""Groups, caps, people, alike objects and entities: known pairs are found, known non-pairs are not."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.efficientnet import EfficientNetLite
from tests.support.photographs import detail_shot, photograph
from x2i.models.classic.hog_color import HogColor
from x2i.relate.candidates import EXACT_ROWS, GROUP_BLOCK, embedding_pairs, group_pairs
from x2i.relate.caps import capped
from x2i.relate.names import name_groups, names_of
from x2i.relate.subject_crops import crop_rows
from x2i.relate.subject_entities import SubjectEntities
from x2i.relate.subject_people import PeopleRule, person_rows
from x2i.relate.subject_rows import SubjectInput, SubjectRow, subject_table
from x2i.seeding import generator


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_approximate_neighbors_find_the_twins_among_many() -> None:
    random = generator("twins")
    vectors = unit(random.normal(size=(EXACT_ROWS + 500, 32)))
    twins = np.arange(0, 400, 2)
    vectors[twins + 1] = unit(vectors[twins] + 0.02 * random.normal(size=(len(twins), 32)))
    found = set(map(tuple, embedding_pairs(vectors, 3).tolist()))
    wanted = {(int(one), int(one) + 1) for one in twins}
    assert len(wanted & found) >= 0.97 * len(wanted)


def test_only_images_of_one_group_are_compared_and_a_large_group_in_blocks() -> None:
    random = generator("groups")
    vectors = unit(random.normal(size=(GROUP_BLOCK + 300, 8)))
    groups = ["large"] * (GROUP_BLOCK + 200) + [f"page-{k // 2}" if k < 90 else "" for k in range(100)]
    pairs = group_pairs(groups, vectors, 2)
    assert all(groups[a] == groups[b] != "" for a, b in pairs.tolist())
    assert {(GROUP_BLOCK + 200 + k, GROUP_BLOCK + 201 + k) for k in range(0, 90, 2)} <= set(map(tuple, pairs.tolist()))
    assert len(pairs) <= 2 * len(groups)
    assert len(group_pairs([""] * 5, vectors[:5], 2)) == 0


def test_names_are_capital_words_that_do_not_merely_begin_a_sentence() -> None:
    assert names_of("A bridge in Prague. The river Vltava below") == ["Prague", "Vltava"]
    assert names_of("Marie Curie in her laboratory") == ["Marie Curie"]
    assert names_of("Sunset over the sea") == []
    captions = ["A tower in Pisa", "The tower of Pisa leans", "A tower in Bologna", "a tower"]
    assert name_groups(captions) == ["Pisa", "Pisa", "", ""]


def pair(a: str, b: str, inliers: int = 20) -> SubjectRow:
    return SubjectRow(b, (SubjectInput(a),), "geometry", {"inliers": inliers})


def test_caps_keep_the_best_rows_of_an_image_a_subject_and_a_page() -> None:
    rows = [pair(f"a{k}", "target", inliers=k) for k in range(6)] + [pair("x", "y"), pair("y", "x")]
    kept = capped(rows, {}, per_image=2, per_subject=100, per_page=100)
    assert [row.scores["inliers"] for row in kept if row.target == "target"] == [4, 5]
    assert len(kept) == 4
    assert len(capped(rows, {}, 100, per_subject=3, per_page=100)) == 5
    pages = {"target": "p", "x": "p", "y": "q"}
    on_page = [row for row in capped(rows, pages, 100, 100, per_page=4) if pages[row.target] == "p"]
    assert len(on_page) == 4
    shuffled = [rows[k] for k in (3, 7, 0, 5, 1, 6, 2, 4)]
    assert sorted(map(str, capped(shuffled, {}, 2, 100, 100))) == sorted(map(str, kept))


def faces_of(pictures: dict[str, list[int]], vectors: dict[int, np.ndarray]) -> pa.Table:
    """Returns the column `faces`: key -> the persons in it; each face is its person's vector, a little changed."""
    rows = []
    for key, persons in pictures.items():
        for number, person in enumerate(persons):
            noise = generator("face", key, person).normal(size=32) * 0.06
            vector = unit((vectors[person] + noise)[None])[0]
            box = {"x0": 10 + 60 * number, "y0": 10, "x1": 50 + 60 * number, "y1": 60}
            rows.append({"key": key, "face": number, **box, "share": 0.05, "score": 0.9, "vector": vector.tolist()})
    return pa.Table.from_pylist(rows)


def test_people_are_joined_in_every_shape_and_strangers_are_not() -> None:
    vectors = {k: unit(generator("person", k).normal(size=(1, 32)))[0] for k in range(5)}
    pictures = {"a1": [0], "a2": [0], "a3": [0], "b1": [1], "b2": [1], "group": [0, 1], "other": [2, 3], "alone": [4]}
    rows = person_rows(faces_of(pictures, vectors), dict.fromkeys(pictures, (100, 200)), PeopleRule())
    persons = {key: set(found) for key, found in pictures.items()}
    for row in rows:
        assert set().union(*(persons[one.key] for one in row.inputs)) & persons[row.target]
        assert row.target not in {one.key for one in row.inputs}
    shapes = {(row.evidence["shape"], tuple(one.key for one in row.inputs), row.target) for row in rows}
    assert {("single_to_single", (a,), b) for a in ("a1", "a2", "a3") for b in ("a1", "a2", "a3") if a != b} <= shapes
    assert {("group_to_single", ("group",), key) for key in ("a1", "b2")} <= shapes
    [to_group] = [shape for shape in shapes if shape[0] == "singles_to_group"]
    assert to_group[2] == "group"
    assert persons[to_group[1][0]] | persons[to_group[1][1]] == {0, 1}
    assert not {"other", "alone"} & {key for row in rows for key in row.keys}


def test_a_group_photo_counts_only_if_enough_references_agree() -> None:
    vectors = {k: unit(generator("person", k).normal(size=(1, 32)))[0] for k in range(2)}
    pictures = {"a1": [0], "a2": [0], "b1": [1], "b2": [1], "group": [0, 1]}
    faces = faces_of(pictures, vectors)
    strict = PeopleRule(same_person=0.999)
    assert person_rows(faces, dict.fromkeys(pictures, (100, 200)), strict) == []


def test_alike_objects_are_joined_and_others_are_not() -> None:
    coffee, cat = photograph("coffee.png", 256), photograph("chelsea.png", 256)
    turned = cv2.convertScaleAbs(cv2.resize(coffee, None, fx=0.9, fy=0.9), alpha=0.95, beta=5)
    images = {"c1": coffee, "c2": turned, "cat": cat}
    objects = [
        {
            "key": key,
            "entity": 0,
            "label": "cup",
            "x0": 0,
            "y0": 0,
            "x1": image.shape[1],
            "y1": image.shape[0],
            "area_share": 0.5,
            "mask_counts": None,
        }
        for key, image in images.items()
    ]
    sizes = {key: image.shape[:2] for key, image in images.items()}
    rows = crop_rows(objects, sizes, images.__getitem__, HogColor(), 5, 0.85, 0.9999)
    assert {(row.inputs[0].key, row.target) for row in rows} == {("c1", "c2"), ("c2", "c1")}
    other = [{**row, "label": "cup" if row["key"] == "c1" else "glass"} for row in objects]
    assert crop_rows(other, sizes, images.__getitem__, HogColor(), 5, 0.85, 0.9999) == []


def test_trained_vectors_join_detail_shots_of_one_thing_and_no_look_alikes() -> None:
    names = ("chelsea.png", "coffee.png", "coins.png", "motorcycle_left.png", "rocket.jpg")
    images = {name: photograph(name, 256) for name in names}
    images |= {f"{name}#": detail_shot(image, name, 0) for name, image in images.items()}
    whole = {"entity": 0, "label": "thing", "x0": 0, "y0": 0, "area_share": 1.0, "mask_counts": None}
    objects = [{**whole, "key": key, "x1": image.shape[1], "y1": image.shape[0]} for key, image in images.items()]
    sizes = {key: image.shape[:2] for key, image in images.items()}
    rows = crop_rows(objects, sizes, images.__getitem__, EfficientNetLite().load(), 9, 0.444, 0.999)
    found = {(row.inputs[0].key, row.target) for row in rows}
    assert {tuple(sorted(pair)) for pair in found} == {(name, f"{name}#") for name in names}


def entity(number: int, label: str, box: tuple[int, int, int, int], **said: object) -> dict[str, object]:
    sides = dict(zip(("x0", "y0", "x1", "y1"), box))
    row = {"entity": number, "label": label, "phrase": label, "score": 0.9 - 0.1 * number, "mask_counts": "x"}
    return {**row, **sides, "area_share": 0.1, **said}


IMAGE = {"key": "k", "height": 100, "width": 100, "caption": "A dog beside a red ball and a cat."}
DOG, BALL, CAT = (0, 0, 30, 30), (40, 40, 70, 70), (70, 0, 99, 30)


@pytest.mark.parametrize(
    ("entities", "phrases"),
    [
        ([entity(0, "cat", CAT), entity(1, "red ball", BALL), entity(2, "dog", DOG)], ["dog", "red ball", "cat"]),
        ([entity(0, "cat", CAT), entity(1, "horse", DOG)], ["cat"]),
        ([entity(0, "cat", CAT), entity(1, "cat", DOG), entity(2, "dog", BALL)], ["dog"]),
        ([entity(0, "dog", DOG), entity(1, "cat", (2, 2, 31, 31))], ["dog"]),
        ([entity(0, "dog", DOG, mask_counts=None), entity(1, "cat", CAT, area_share=0.9)], None),
    ],
    ids=["in the order of the caption", "not in it", "two of one name", "one over another", "no mask, too large"],
)
def test_an_entity_has_a_mask_and_words_that_the_caption_holds(entities: list, phrases: list[str] | None) -> None:
    found = list(SubjectEntities().find([{**IMAGE, "entities": entities}]))
    assert [[one.phrase for one in row.inputs] for row in found] == ([phrases] if phrases else [])


def test_without_a_caption_the_phrase_that_no_other_object_has_is_used() -> None:
    entities = [entity(0, "", DOG, phrase="the red object on the left"), entity(1, "", CAT, phrase=None)]
    [row] = SubjectEntities().find([{**IMAGE, "caption": None, "entities": entities}])
    assert [one.phrase for one in row.inputs] == ["the red object on the left"]


def test_the_table_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = [pair(a, b) for a, b in combinations("abcd", 2)]
    assert subject_table(rows).equals(subject_table(rows[::-1]))
