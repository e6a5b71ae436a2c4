"""Selections: what they keep, what they count, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.support import photos
from x2i.errors import UserError
from x2i.store import Dataset
from x2i.store.columns import write_relation
from x2i.store.query.predicates import check_predicate
from x2i.store.query.views import Selection, Verdicts, connect, list_views, missing, select


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return photos.write_all(tmp_path_factory.mktemp("query"))


def ask(dataset: Dataset, *predicates: str) -> Verdicts:
    views = list_views(dataset)
    with connect(dataset, views) as connection:
        return select(connection, views, Selection.parse(predicates))


def kept(verdicts: Verdicts) -> set[str]:
    names = {key: name for name, key in photos.keys().items()}
    return {names[key] for keys in verdicts.kept["keys"].to_pylist() for key in keys}


def test_without_predicates_every_stored_image_is_kept_and_no_failed_one(dataset: Dataset) -> None:
    verdicts = ask(dataset)
    assert verdicts.candidates == len(photos.CAPTIONS)
    assert kept(verdicts) == set(photos.CAPTIONS)
    keys = [row[0] for row in verdicts.kept["keys"].to_pylist()]
    assert keys == sorted(keys)


def test_predicates_reach_over_columns_and_relations(dataset: Dataset) -> None:
    verdicts = ask(dataset, "quality.min_side >= 200 AND NOT duplicates.is_duplicate", "captions.caption IS NOT NULL")
    small = {name for name in photos.CAPTIONS if min(photos.photo(name).shape[:2]) < 200}
    assert kept(verdicts) == set(photos.CAPTIONS) - small - {"chelsea", "retina"}


def test_those_left_out_are_counted_once_by_the_first_predicate_that_fails(dataset: Dataset) -> None:
    verdicts = ask(dataset, "has_caption=captions.caption IS NOT NULL", "cat=captions.caption LIKE '%cat%'")
    assert verdicts.not_selected == {"has_caption": 1, "cat": 8}
    assert verdicts.candidates == verdicts.kept.num_rows + sum(verdicts.not_selected.values())


def test_null_is_not_true(dataset: Dataset) -> None:
    assert "retina" not in kept(ask(dataset, "captions.caption <> 'x'"))


def test_entities_are_asked_for_with_exists(dataset: Dataset) -> None:
    found = ask(dataset, "EXISTS (SELECT 1 FROM entities WHERE entities.key = images.key AND entities.score > 0.5)")
    assert kept(found) == {"astronaut", "coffee", "rocket", "chelsea"}


def test_an_image_that_a_column_does_not_cover_is_told_apart_from_one_that_fails(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    photos.write_quality(tmp_path)
    (tmp_path / "commits/quality/00001.json").unlink()
    verdicts = ask(dataset, "big=quality.min_side >= 1")
    assert verdicts.not_selected == {"quality_is_known": 4}


def test_uncommitted_files_are_not_seen(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    photos.write_quality(tmp_path)
    for record in (tmp_path / "commits/quality").glob("*.json"):
        record.unlink()
    assert "quality" not in list_views(dataset)


@pytest.mark.parametrize(
    "predicate",
    [
        "EXISTS (SELECT 1 FROM read_csv('/etc/passwd'))",
        "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
        "EXISTS (SELECT 1 FROM '/etc/passwd')",
        "EXISTS (SELECT 1 FROM '/etc/passwd.csv')",
        "EXISTS (SELECT 1 FROM glob('/etc/*'))",
        "EXISTS (FROM query('SELECT 1'))",
        "COPY images TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.db'",
        "INSTALL httpfs",
        "true; DROP TABLE chosen",
        "true); DROP TABLE chosen; SELECT (true",
        "true) FROM images WHERE (true",
        "true), (false",
        "true) UNION SELECT (true",
        "true) ORDER BY (1",
        "SET enable_external_access = true",
        "getenv('HOME') = ''",
        "random() > 0.5",
        "now() > TIMESTAMP '2020-01-01'",
        "current_setting('memory_limit') = ''",
        "EXISTS (SELECT 1 FROM images TABLESAMPLE 10 PERCENT)",
        "row_number() OVER () < 5",
        "count(*) > 1",
        "$1",
        "",
        "--",
        "quality.min_side >",
    ],
)
def test_what_is_not_a_plain_predicate_is_refused(dataset: Dataset, predicate: str) -> None:
    views = list_views(dataset)
    with pytest.raises(UserError) as refusal, connect(dataset, views) as connection:
        select(connection, views, Selection({"mine": predicate}))
    assert "mine" in str(refusal.value)
    assert not Path("/tmp/stolen.csv").exists()


def test_the_connection_itself_is_locked_in(dataset: Dataset, tmp_path: Path) -> None:
    import duckdb

    with connect(dataset, list_views(dataset)) as connection:
        for statement in (
            "SELECT * FROM read_csv('/etc/passwd')",
            f"COPY images TO '{tmp_path}/x.csv'",
            f"ATTACH '{tmp_path}/x.db'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            "SET lock_configuration = false",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_is_refused_with_all_there_are(dataset: Dataset) -> None:
    with pytest.raises(UserError) as refusal:
        ask(dataset, "big=quality.min_sid >= 200")
    text = str(refusal.value)
    assert "'big'" in text
    assert "min_sid" in text
    assert "quality: key, min_side" in text
    assert "subject_pairs: target" in text


def test_a_column_of_several_rows_is_explained(dataset: Dataset) -> None:
    with pytest.raises(UserError, match="several rows per image: EXISTS"):
        ask(dataset, "entities.score > 0.5")


@pytest.mark.parametrize("predicate", ["width=300", "quality.min_side", "'yes'", "NULL"])
def test_a_predicate_that_is_not_true_or_false_is_refused(dataset: Dataset, predicate: str) -> None:
    with pytest.raises(UserError, match="true or false"):
        ask(dataset, predicate)


def test_names_are_split_from_predicates() -> None:
    parsed = Selection.parse(["big=images.width >= 5", "images.width = 5", "a == b", "sharp = quality.sharpness > 3"])
    assert parsed.predicates["big"] == "images.width >= 5"
    assert parsed.predicates["images.width = 5"] == "images.width = 5"
    assert parsed.predicates["a == b"] == "a == b"
    with pytest.raises(UserError, match="two predicates"):
        Selection.parse(["x=a > 1", "x=b > 1"])


def test_a_view_that_nobody_made_names_its_stage(bare: Dataset) -> None:
    with pytest.raises(UserError, match=r"quality.*x2i filter"):
        connect(bare, list_views(bare), ["quality"], {"quality": "filter"})
    made_by = {"embeddings_clip": "embed --column embeddings_clip"}
    assert "x2i embed --column" in str(missing(list_views(bare), ["embeddings_clip"], made_by))
    assert missing(list_views(bare), ["images", "no_such_table"], made_by) is None


@pytest.fixture
def bare(tmp_path: Path) -> Dataset:
    return photos.write_photos(tmp_path / "bare")


def test_a_dataset_without_images_names_crawl(tmp_path: Path) -> None:
    empty = Dataset.create(tmp_path, "empty")
    with pytest.raises(UserError, match="x2i crawl"):
        connect(empty, list_views(empty))


def test_a_table_that_declares_no_rows_per_image_is_asked_with_exists(tmp_path: Path) -> None:
    dataset = photos.write_photos(tmp_path)
    keys = sorted(photos.keys().values())[:2]
    path = write_relation(tmp_path, "mine", pa.table({"key": keys, "good": [True, False]}))
    photos.commit(tmp_path, "mine", "00000", (path,))
    with pytest.raises(UserError, match="several rows per image: EXISTS"):
        ask(dataset, "mine.good")
    found = ask(dataset, "EXISTS (SELECT 1 FROM mine WHERE mine.key = images.key AND mine.good)")
    assert found.kept["keys"].to_pylist() == [keys[:1]]


def test_duckdb_lists_its_functions_once_for_all_predicates(monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    check_predicate("first", "1 = 1")
    opened: list[object] = []
    original = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *a, **k: opened.append(a) or original(*a, **k))
    for number in range(5):
        check_predicate("mine", f"{number} = {number}")
        check_predicate("mine", f"{number} = {number}")
    assert len(opened) == 5


def test_a_pair_is_kept_if_both_its_images_pass(dataset: Dataset) -> None:
    pairs = "SELECT list_append(inputs, target) AS keys, '' AS suffix FROM subject_pairs"
    views = list_views(dataset)
    with connect(dataset, views) as connection:
        assert select(connection, views, Selection(), pairs).kept.num_rows == 4
        one = select(connection, views, Selection({"not_rocket": "images.uid <> 'uid-rocket'"}), pairs)
    assert one.kept.num_rows == 2
    assert one.not_selected == {"not_rocket": 2}
