"""semantic-dedup finds images that show the same by their embeddings, and keeps the one that the rule prefers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.relate.semantic_duplicates import SemanticDuplicatesStage
from tests.support.command_line import typed
from tests.support.datasets import commit
from tests.support.photographs import photograph
from tests.support.stored_images import Given, store
from x2i.annotate.embeddings import Embeddings
from x2i.annotate.flatness import Flatness
from x2i.annotate.quality import Quality
from x2i.errors import UserError
from x2i.relate.semantic_duplicates import SemanticDuplicates
from x2i.store import Dataset
from x2i.store.columns import write_column
from x2i.store.commits import Counts
from x2i.tables import TableSpec
from x2i.takedown.tables import rewrite_rows

INLINE = RunOptions(executor=Executor.INLINE)
RELATION = "semantic_duplicates"


def shifted(name: str, by: int) -> np.ndarray:
    return photograph(name, 256)[by : by + 128, by : by + 160].copy()


def logo(color: tuple[int, int, int]) -> np.ndarray:
    page = np.full((200, 200, 3), 255, np.uint8)
    page[90:110, 95:105] = color
    return page


PICTURES = [
    Given(shifted("coffee.png", 0)),
    Given(shifted("coffee.png", 1), alt="A cup of coffee"),
    Given(photograph("coffee.png", 256)[2:130, 2:162].repeat(2, 0).repeat(2, 1)),
    Given(photograph("rocket.jpg", 128)),
    Given(logo((250, 20, 20))),
    Given(logo((20, 20, 250))),
    Given(shifted("grass.png", 0), alt="grass"),
]


def scored(root: Path) -> Dataset:
    dataset = store(root, PICTURES)
    execute([AnnotateStage(one) for one in (Embeddings(), Flatness(), Quality())], dataset, INLINE)
    return dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return scored(tmp_path_factory.mktemp("semantic") / "d")


def kept(dataset: Dataset, **options: object) -> list[int]:
    """Returns for each picture the number of the one kept in its place."""
    stage = SemanticDuplicatesStage(**{"similarity": 0.9, **options})  # type: ignore[arg-type]
    overwrite = RunOptions(executor=Executor.INLINE, overwrite=True)
    (summary,) = execute([stage], dataset, overwrite)
    assert summary.failed == {}
    table = dataset.relation(RELATION)
    assert table.schema.remove_metadata() == SemanticDuplicates.spec.schema
    keys = table["key"].to_pylist()
    assert keys == dataset.images()["key"].to_pylist()
    return [keys.index(cluster) for cluster in table["cluster"].to_pylist()]


def test_the_captioned_then_the_larger_then_the_first_is_kept(dataset: Dataset) -> None:
    assert kept(dataset) == [1, 1, 1, 3, 4, 5, 6]
    assert kept(dataset, prefer=("images.width * images.height",)) == [2, 2, 2, 3, 4, 5, 6]
    assert kept(dataset, prefer=("-quality.min_side",)) == [0, 0, 0, 3, 4, 5, 6]


def test_flat_pictures_are_duplicates_of_nothing_unless_they_are_asked_for(dataset: Dataset) -> None:
    assert kept(dataset)[4:6] == [4, 5]
    assert kept(dataset, flatness="", similarity=0.8)[4:6] == [4, 4]


def test_the_similarity_is_the_cosine_of_the_embeddings(dataset: Dataset) -> None:
    places = kept(dataset)
    embeddings = np.array(dataset.column("embeddings")["embedding"].to_pylist(), np.float64)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = [embeddings[row] @ embeddings[place] for row, place in enumerate(places)]
    assert np.allclose(dataset.relation(RELATION)["similarity"].to_pylist(), expected, atol=1e-6)


def test_a_takedown_gives_what_a_new_run_without_the_image_would(tmp_path: Path) -> None:
    dataset = scored(tmp_path / "d")
    kept(dataset)
    gone = dataset.images()["key"][1].as_py()
    rewrite_rows(dataset, f"relations/{RELATION}.parquet", {gone})
    left = dataset.relation(RELATION)
    relation = SemanticDuplicates(similarity=0.9)
    images = left.select(["key", "rank"]).append_column("is_flat", pa.array([False] * 3 + [True] * 2 + [False]))
    assert left.equals(relation.find(images.combine_chunks(), dataset).cast(left.schema))
    assert gone not in repr(left.to_pylist())
    assert sorted(left["rank"].to_pylist()) == list(range(6))
    assert pc.sum(left["is_duplicate"]).as_py() == 1


def test_lists_of_one_size_and_images_without_an_embedding_are_read(tmp_path: Path) -> None:
    dataset = store(tmp_path / "d", PICTURES[:4])
    vectors = [[1, 0, 0], [0, 2, 0.25]]
    lists = pa.array([vectors[0], None, vectors[1], vectors[1]], pa.list_(pa.float32(), 3))
    table = pa.table({"key": dataset.images()["key"], "embedding": lists})
    spec = TableSpec("crops", "crops", "embed", table.schema)
    commit(dataset.root, "crops", "00000", [write_column(dataset.root, "crops", "00000", table, spec)], Counts(4))
    assert kept(dataset, embeddings="crops", flatness="", prefer=()) == [0, 1, 2, 2]


def test_what_is_missing_or_faulty_is_told_with_the_command_that_helps(tmp_path: Path) -> None:
    dataset = store(tmp_path / "d", PICTURES[:2])
    with pytest.raises(UserError, match=r"reads 'embeddings', which has not been made: run `x2i embed` first"):
        execute([SemanticDuplicatesStage()], dataset, INLINE)
    execute([AnnotateStage(Embeddings())], dataset, INLINE)
    with pytest.raises(UserError, match=r"reads 'flatness', which has not been made: run `x2i filter` first"):
        execute([SemanticDuplicatesStage()], dataset, INLINE)
    with pytest.raises(UserError, match=r"prefer: DuckDB says: .*nosuch"):
        execute([SemanticDuplicatesStage(flatness="", prefer=("images.nosuch",))], dataset, INLINE)
    with pytest.raises(UserError, match=r"random\(\) gives another answer in every run"):
        execute([SemanticDuplicatesStage(flatness="", prefer=("random()",))], dataset, INLINE)


def test_the_command_line_runs_it_and_again_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = scored(tmp_path / "d")
    words = ["semantic-dedup", dataset.root, "--similarity", 0.9, "--executor", "inline", "--json"]
    assert typed(*words) == 0
    assert '"duplicate": 2' in capsys.readouterr().out
    assert typed(*words) == 0
    assert '"ran": 0' in capsys.readouterr().out
