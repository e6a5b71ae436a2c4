"""dedup keeps the largest of every group; subjects pairs what is left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.relate.duplicates import DuplicatesStage
from pipelines.stages.relate.subjects import SubjectsStage
from tests.support.chat_server import ChatServer
from tests.support.command_line import typed
from tests.support.photographs import detail_shot, photograph
from tests.support.stored_images import Given, store
from x2i.annotate.embeddings import Embeddings
from x2i.annotate.pdq import Pdq
from x2i.annotate.quality import Quality
from x2i.errors import UserError
from x2i.store import Dataset
from x2i.store.commits import list_commits
from x2i.store.verify.verify import Level, verify
from x2i.takedown.tables import rewrite_rows

INLINE = RunOptions(executor=Executor.INLINE)


def pictures() -> list[Given]:
    coffee, rocket = photograph("coffee.png"), photograph("rocket.jpg")
    smaller = cv2.resize(coffee, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return [
        Given(smaller, quality=80),
        Given(coffee),
        Given(rocket),
        Given(None),
        Given(coffee),
        Given(detail_shot(coffee, "coffee", 1)),
        Given(photograph("grass.png")),
        Given(detail_shot(rocket, "rocket", 0)),
        Given(photograph("motorcycle_left.png")),
        Given(photograph("motorcycle_right.png")),
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    dataset = store(tmp_path_factory.mktemp("relate") / "d", pictures())
    for stage in (DuplicatesStage(), AnnotateStage(Embeddings()), SubjectsStage()):
        assert execute([stage], dataset, INLINE)[0].failed == {}
    return dataset


def test_every_stored_image_has_one_row_that_names_what_is_kept(dataset):
    table = dataset.relation("duplicates")
    assert table.schema.equals(DuplicatesStage.spec.schema)
    rows = {row["key"]: row for row in table.to_pylist()}
    assert list(rows) == [k for k in dataset.images()["key"].to_pylist() if k != "00000-00003"]
    full, small, again = rows["00000-00001"], rows["00000-00000"], rows["00001-00000"]
    assert (full["is_duplicate"], full["kind"], full["cluster"], full["distance"]) == (False, "", "00000-00001", 0)
    assert (small["is_duplicate"], small["kind"], small["cluster"]) == (True, "near", "00000-00001")
    assert (again["is_duplicate"], again["kind"], again["distance"]) == (True, "exact", 0)
    assert small["distance"] <= 6
    assert not rows["00001-00002"]["is_duplicate"]


def test_duplicates_are_counted_as_such(dataset):
    counts = next(iter(list_commits(dataset.root, "duplicates"))).counts
    assert (counts.ok, counts.filtered) == (7, {"duplicate": 2})


def test_distance_zero_keeps_everything_but_copies(tmp_path):
    dataset = store(tmp_path, pictures()[:5])
    execute([DuplicatesStage(max_distance=0)], dataset, INLINE)
    kinds = dict(zip(*(dataset.relation("duplicates")[name].to_pylist() for name in ("key", "kind"))))
    assert kinds["00001-00000"] == "exact"
    assert kinds["00000-00002"] == ""


def test_pairs_join_photographs_with_their_details_and_nothing_else(dataset):
    table = dataset.relation("subject_pairs")
    assert table.schema.equals(SubjectsStage.spec.schema)
    rows = table.to_pylist()
    both_ways = {(*row["inputs"], row["target"]) for row in rows}
    pairs = [("00000-00001", "00001-00001"), ("00000-00002", "00001-00003")]
    assert both_ways == {*pairs, *((b, a) for a, b in pairs)}
    for row in rows:
        assert json.loads(row["evidence"])["method"] == "classic:sift"
        assert (row["kind"], row["phrases"]) == ("geometry", [""])
        assert row["inliers"] >= 15
        assert 0 < row["area_ratio"] <= 1
        assert row["phash_distance"] > 10


def test_images_without_a_partner_are_counted(dataset):
    counts = next(iter(list_commits(dataset.root, "subject_pairs"))).counts
    assert (counts.ok, counts.filtered) == (4, {"duplicate": 2, "no_pair": 3})


def test_pairs_that_a_judge_denies_are_no_pairs_and_counted_as_such(dataset, tmp_path):
    copied = Dataset.open(shutil.copytree(dataset.root, tmp_path / "d"))
    answers = [("yes", "stop"), ("No.", "stop"), ("Yes.", "stop"), ("no", "stop")]  # in the order of the targets
    with ChatServer(answers) as server:
        model = f"openai:{server.url}#judge"
        options = {"concurrency": 1, "cache": str(tmp_path / "answers")}
        judged = SubjectsStage(judge=model, judge_set=options)
        again = RunOptions(executor=Executor.INLINE, overwrite=True)
        assert execute([judged], copied, again)[0].failed == {}
        assert len(server.answered) == 4
        assert execute([judged], copied, INLINE)[0].ran == 0
    rows = copied.relation("subject_pairs").to_pylist()
    assert {(*row["inputs"], row["target"]) for row in rows} == {
        ("00000-00001", "00001-00001"), ("00001-00001", "00000-00001")
    }  # fmt: skip
    for row in rows:
        assert row["yes_rate"] == 1
        assert json.loads(row["evidence"])["judge"] == {"yes": [1], "asked": [1]}
    counts = next(iter(list_commits(copied.root, "subject_pairs"))).counts
    assert (counts.ok, counts.filtered) == (2, {"duplicate": 2, "no_pair": 3, "judged_different": 2})


def test_a_judge_that_describes_no_pictures_is_refused():
    with pytest.raises(UserError, match="available: hf:MODEL, openai:MODEL"):
        SubjectsStage(judge="alt-text").check_models()


def test_subjects_says_what_must_run_first(tmp_path):
    dataset = store(tmp_path, pictures()[:3])
    with pytest.raises(UserError, match="relation 'duplicates' does not exist yet"):
        execute([SubjectsStage()], dataset, INLINE)
    execute([DuplicatesStage()], dataset, INLINE)
    with pytest.raises(UserError, match="no column 'embeddings'"):
        execute([SubjectsStage()], dataset, INLINE)


def test_subjects_refuses_duplicates_that_miss_new_images(tmp_path):
    dataset = store(tmp_path, pictures()[:4])
    execute([DuplicatesStage()], dataset, INLINE)
    execute([AnnotateStage(Embeddings())], dataset, INLINE)
    store(tmp_path, pictures())
    with pytest.raises(UserError, match="relation 'duplicates' has 3 images, the store has 9: run `x2i dedup`"):
        execute([SubjectsStage()], dataset, INLINE)


def test_the_relations_are_the_same_bytes_again(dataset, tmp_path):
    again = store(tmp_path, pictures())
    for stage in (DuplicatesStage(), AnnotateStage(Embeddings()), SubjectsStage()):
        execute([stage], again, INLINE)
        first, second = (list(list_commits(root, stage.name)) for root in (dataset.root, tmp_path))
        assert [commit.outputs for commit in first] == [commit.outputs for commit in second]


@pytest.mark.parametrize("name", ["filter", "caption", "detect", "embed", "dedup", "subjects"])
def test_every_command_teaches_with_an_example(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert typed(name, "--help") == 0
    assert f"x2i {name} my-dataset" in capsys.readouterr().out


def test_a_wrong_model_is_a_user_error_on_the_command_line(dataset, capsys):
    from pipelines.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["caption", str(dataset.root), "--model", "nosuch:x", "--executor", "inline"])
    assert caught.value.code == 2
    assert "no such backend; available: alt-text" in capsys.readouterr().err


def _flat(color: tuple[int, int, int]) -> np.ndarray:
    return np.full((180, 320, 3), color, np.uint8)


def _duplicates(tmp_path: Path, *images: np.ndarray, quality: int = 95) -> list[bool]:
    dataset = store(tmp_path / "d", [Given(image, quality=quality) for image in images])
    execute([DuplicatesStage()], dataset, INLINE)
    return dataset.relation("duplicates")["is_duplicate"].to_pylist()


def test_flat_pictures_of_other_colors_are_no_duplicates_and_equal_ones_are(tmp_path):
    colors = [(0, 0, 254), (255, 255, 255), (250, 10, 10), (10, 200, 20), (250, 10, 12)]
    assert _duplicates(tmp_path, *map(_flat, colors)) == [False, False, False, False, True]


def test_pairs_of_restoration_are_no_duplicates(tmp_path):
    coffee = photograph("coffee.png")
    gray = np.repeat(cv2.cvtColor(coffee, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert _duplicates(tmp_path, coffee, cv2.GaussianBlur(coffee, (0, 0), 3), gray) == [False] * 3


def test_copies_in_other_sizes_and_qualities_are_duplicates(tmp_path):
    coffee = photograph("coffee.png")
    small = cv2.resize(coffee, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    assert _duplicates(tmp_path, coffee, small, cv2.resize(coffee, (400, 270)), quality=40) == [False, True, True]


def test_gradients_of_other_colors_are_no_duplicates_and_their_store_is_whole(tmp_path):
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    across = np.repeat(np.broadcast_to(ramp, (300, 300))[..., None], 3, axis=2)
    slope = np.repeat((np.add.outer(ramp / 2, ramp / 2)).astype(np.uint8)[..., None], 3, axis=2)
    red, green = slope * np.uint8([1, 0, 0]), slope * np.uint8([0, 1, 0])
    assert _duplicates(tmp_path, across, slope, red, green, quality=30) == [False] * 4
    assert verify(tmp_path / "d", Level.DEEP).ok


def test_a_chain_of_near_hashes_joins_no_far_ends(tmp_path):
    coffee = photograph("coffee.png").astype(np.float32)
    grass = cv2.resize(photograph("grass.png"), (coffee.shape[1], coffee.shape[0])).astype(np.float32)
    fade = [(coffee * (1 - t) + grass * t).astype(np.uint8) for t in np.linspace(0, 1, 21)]
    dataset = store(tmp_path / "d", [Given(image) for image in fade])
    execute([DuplicatesStage()], dataset, INLINE)
    assert max(row["distance"] for row in dataset.relation("duplicates").to_pylist()) <= 6


def _on_white(draw) -> np.ndarray:
    page = np.full((200, 300, 3), 255, np.uint8)
    draw(page)
    return page


def test_other_logos_on_white_are_no_duplicates_and_copies_of_one_are(tmp_path):
    red, blue = (220, 30, 30), (30, 30, 220)
    pages = [
        _on_white(lambda page: cv2.circle(page, (150, 100), 20, blue, -1)),
        _on_white(lambda page: cv2.rectangle(page, (130, 80), (170, 120), blue, -1)),
        _on_white(lambda page: cv2.circle(page, (150, 100), 10, red, -1)),
        _on_white(lambda page: cv2.circle(page, (150, 100), 10, blue, -1)),
        _on_white(lambda page: cv2.putText(page, "Foo", (120, 110), cv2.FONT_HERSHEY_SIMPLEX, 1, (60,) * 3, 2)),
        _on_white(lambda page: cv2.putText(page, "42", (120, 110), cv2.FONT_HERSHEY_SIMPLEX, 1, (60,) * 3, 2)),
        np.full((200, 300, 3), 255, np.uint8),
    ]
    smaller = [cv2.resize(page, (240, 160), interpolation=cv2.INTER_AREA) for page in pages[:-1]]
    assert _duplicates(tmp_path, *pages, *smaller, quality=80) == [False] * 7 + [True] * 6


def test_pdq_hashes_find_copies_and_are_taken_from_the_crawl_or_from_their_score(tmp_path):
    coffee = photograph("coffee.png")
    small = cv2.resize(coffee, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    shown = [coffee, small, photograph("rocket.jpg"), _flat((250, 10, 10)), _flat((10, 10, 250))]
    dataset = store(tmp_path / "d", [Given(image) for image in shown])
    stage = DuplicatesStage(hash="pdq", max_distance=0)
    with pytest.raises(UserError, match=r"image 00000-00000 has no PDQ hash: run `x2i filter .* --score pdq`"):
        execute([stage], dataset, INLINE)
    execute([AnnotateStage(Pdq())], dataset, INLINE)
    execute([stage], dataset, INLINE)
    rows = dataset.relation("duplicates").to_pylist()
    assert [row["is_duplicate"] for row in rows] == [False, True, False, False, False]
    hashes = [int(digits, 16) for digits in dataset.column("pdq")["pdq"].to_pylist()]
    assert rows[1]["distance"] == (hashes[0] ^ hashes[1]).bit_count() <= 31
    gone = dataset.images()["key"][0].as_py()
    rewrite_rows(dataset, "relations/duplicates.parquet", {gone})
    assert not any(row["is_duplicate"] for row in dataset.relation("duplicates").to_pylist())


def test_which_image_is_kept_is_said_by_the_preference(tmp_path):
    coffee = photograph("coffee.png")
    small = cv2.resize(coffee, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    dataset = store(tmp_path / "d", [Given(coffee), Given(small, alt="A cup of coffee"), Given(coffee, quality=60)])
    execute([AnnotateStage(Quality())], dataset, INLINE)
    again = RunOptions(executor=Executor.INLINE, overwrite=True)
    for prefer, kept in {
        DuplicatesStage().prefer: 1,
        ("images.width * images.height",): 0,
        ("images.width", "-images.bytes"): 2,
        ("-quality.megapixels",): 1,
    }.items():
        execute([DuplicatesStage(prefer=prefer)], dataset, again)
        assert dataset.relation("duplicates")["cluster"].to_pylist() == [f"00000-{kept:05d}"] * 3
