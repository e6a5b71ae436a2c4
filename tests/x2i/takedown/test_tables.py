"""Tables that this project has never heard of are cleaned by what they declare."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.datasets import build_dataset, commit
from x2i.image import encode
from x2i.reasons import Reason
from x2i.store import Dataset
from x2i.store.columns import ROWS_WITH_IMAGES, write_column, write_relation
from x2i.store.commits import Counts, read_commit
from x2i.store.verify.verify import Level, verify
from x2i.tables import IMAGE_TYPE, TableSpec
from x2i.takedown.request import read_request
from x2i.takedown.run import take_down

LOOKS = TableSpec(
    name="looks",
    title="with a look-alike",
    made_by="annotate mine:Looks",
    schema=pa.schema([("key", pa.string()), ("nearest", pa.string()), ("drawn", IMAGE_TYPE), ("about", pa.string())]),
    image_keys=("key", "nearest"),
    kept="nearest IS NOT NULL",
)
ALBUMS = TableSpec(
    name="albums",
    title="in an album",
    made_by="albums",
    schema=pa.schema([("title", pa.string()), ("cover", pa.string()), ("pages", pa.list_(pa.string()))]),
    kind="relation",
    rows="many",
    image_keys=("cover", "pages"),
)
GONE = "00000-00001"
FIRST, SECOND = ["00000-00000", GONE, "00000-00002"], ["00001-00000", "00001-00001"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The partition 00001 of the column names an image of 00000; a text that equals a key is no reference."""
    dataset = build_dataset(tmp_path_factory.mktemp("whole") / "d", side=48)
    picture = {"bytes": encode(np.full((8, 8, 3), 9, np.uint8), "png"), "path": "drawn.png"}
    nearest = {FIRST[0]: FIRST[2], GONE: FIRST[0], FIRST[2]: None, SECOND[0]: GONE, SECOND[1]: FIRST[0]}
    for partition, keys in (("00000", FIRST), ("00001", SECOND)):
        rows = [{"key": key, "nearest": nearest[key], "drawn": picture, "about": GONE} for key in keys]
        found = sum(row["nearest"] is not None for row in rows)
        path = write_column(dataset.root, "looks", partition, pa.Table.from_pylist(rows, schema=LOOKS.schema), LOOKS)
        commit(dataset.root, "looks", partition, [path], Counts(found, {"no_pair": len(rows) - found}))
    albums = [
        {"title": "kept", "cover": FIRST[0], "pages": [*SECOND]},
        {"title": "cover", "cover": GONE, "pages": [FIRST[0]]},
        {"title": "page", "cover": FIRST[0], "pages": [FIRST[2], GONE]},
        {"title": "empty", "cover": None, "pages": []},
    ]
    path = write_relation(dataset.root, "albums", pa.Table.from_pylist(albums, schema=ALBUMS.schema), ALBUMS)
    commit(dataset.root, "albums", "00000", [path], Counts(5))
    return dataset.root


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Dataset:
    shutil.copytree(whole, tmp_path / "d")
    return Dataset.open(tmp_path / "d")


def test_rows_that_hold_a_removed_key_in_a_declared_field_are_gone(dataset: Dataset) -> None:
    take_down(dataset, read_request({"key": [GONE]}, 0), by="Ada", reason="asked")
    assert dataset.column("looks")["key"].to_pylist() == [FIRST[0], FIRST[2], SECOND[1]]
    assert dataset.relation("albums")["title"].to_pylist() == ["kept", "empty"]
    report = verify(dataset.root, Level.DEEP)
    assert report.ok, report.findings


def test_declarations_images_and_small_row_groups_survive(dataset: Dataset) -> None:
    take_down(dataset, read_request({"key": [GONE]}, 0), by="Ada", reason="asked")
    path = dataset.root / "columns/looks/00000.parquet"
    assert TableSpec.read(path) == LOOKS
    assert pq.ParquetFile(path).metadata.row_group(0).num_rows <= ROWS_WITH_IMAGES
    assert b"huggingface" in pq.read_schema(path).metadata
    assert TableSpec.read(dataset.root / "relations/albums.parquet") == ALBUMS


def test_commits_count_what_was_found_and_is_gone(dataset: Dataset) -> None:
    take_down(dataset, read_request({"key": [GONE]}, 0), by="Ada", reason="asked")
    gone = str(Reason.TAKEN_DOWN)
    counts = {
        name: found.counts
        for name in (("looks", "00000"), ("looks", "00001"), ("albums", "00000"))
        if (found := read_commit(dataset.root, *name)) is not None
    }
    assert counts[("looks", "00000")] == Counts(1, {"no_pair": 1, gone: 1})
    assert counts[("looks", "00001")] == Counts(1, {gone: 1})
    assert counts[("albums", "00000")] == Counts(3, {gone: 2})


def test_tables_without_such_rows_keep_their_bytes(dataset: Dataset) -> None:
    before = {path: path.read_bytes() for path in dataset.root.glob("columns/*/00001.parquet")}
    take_down(dataset, read_request({"key": [GONE]}, 0), by="Ada", reason="asked")
    changed = {path.parent.name for path, data in before.items() if path.read_bytes() != data}
    assert changed == {"looks"}


def test_verify_decodes_the_images_of_a_column(dataset: Dataset) -> None:
    path = dataset.root / "columns/looks/00000.parquet"
    table = dataset.column("looks").slice(0, 3)
    broken = [{"bytes": b"no picture", "path": "drawn.png"}, *table["drawn"].to_pylist()[1:]]
    path = write_column(
        dataset.root, "looks", "00000", table.set_column(2, LOOKS.schema.field("drawn"), [broken]), LOOKS
    )
    commit(dataset.root, "looks", "00000", [path], Counts(3))
    assert verify(dataset.root).ok
    (finding,) = verify(dataset.root, Level.DEEP).findings
    assert finding.file == "columns/looks/00000.parquet"
    assert f"image drawn of '{FIRST[0]}' does not decode" in finding.problem
    assert "run `x2i annotate mine:Looks` again" in finding.fix
