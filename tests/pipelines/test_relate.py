"""dedup keeps the largest of every group; subjects pairs what is left."""

from __future__ import annotations

import cv2
import pytest
from typer.testing import CliRunner

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.relate.duplicates import DuplicatesStage
from pipelines.stages.relate.subjects import SubjectsStage
from tests.support.photographs import detail_shot, photograph
from tests.support.stored_images import Given, store
from x2i.annotate.embeddings import Embeddings
from x2i.errors import UserError
from x2i.store import Dataset
from x2i.store.commits import list_commits

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
    assert (counts.ok, counts.filtered) == (6, {"duplicate": 3})


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
    assert [(row["key_a"], row["key_b"]) for row in rows] == [
        ("00000-00001", "00001-00001"),
        ("00000-00002", "00001-00003"),
    ]
    for row in rows:
        assert row["method"] == "classic:sift"
        assert row["inliers"] >= 15
        assert 0 < row["area_ratio"] <= 1
        assert row["phash_distance"] > 10


def test_images_without_a_partner_are_counted(dataset):
    counts = next(iter(list_commits(dataset.root, "subject_pairs"))).counts
    assert (counts.ok, counts.filtered) == (4, {"duplicate": 3, "no_pair": 2})


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
def test_every_command_teaches_with_an_example(name):
    from pipelines.cli import _load

    result = CliRunner().invoke(_load(name), ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: x2i {name} my-dataset" in result.output


def test_a_wrong_model_is_a_user_error_on_the_command_line(dataset, capsys):
    from pipelines.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["caption", str(dataset.root), "--model", "nosuch:x", "--executor", "inline"])
    assert caught.value.code == 2
    assert "no such backend; available: alt-text" in capsys.readouterr().err
