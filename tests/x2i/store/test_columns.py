"""Columns and relations: read back as written, and an error that says which stage is missing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from x2i.errors import UserError
from x2i.store.columns import read_column, read_relation, write_column, write_relation

TABLE = pa.table({"key": ["00000-00000", "00000-00002"], "score": pa.array([0.5, None], pa.float32())})


def test_a_column_comes_back_as_written(tmp_path: Path) -> None:
    path = write_column(tmp_path, "quality", "00000", TABLE)
    assert path == tmp_path / "columns/quality/00000.parquet"
    assert read_column(tmp_path, "quality", "00000").equals(TABLE)


def test_a_column_without_keys_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises((AssertionError, KeyError)):
        write_column(tmp_path, "quality", "00000", TABLE.drop_columns(["key"]))


@pytest.mark.parametrize("name", ["embeddings-clip", "Quality", "2d", ""])
def test_what_is_no_name_in_sql_cannot_be_the_name_of_a_table(tmp_path: Path, name: str) -> None:
    for write in (lambda: write_column(tmp_path, name, "00000", TABLE), lambda: write_relation(tmp_path, name, TABLE)):
        with pytest.raises(AssertionError, match="is no name of"):
            write()


def test_a_relation_comes_back_as_written(tmp_path: Path) -> None:
    write_relation(tmp_path, "duplicates", TABLE)
    assert read_relation(tmp_path, "duplicates").equals(TABLE)


def test_a_partition_or_relation_that_was_not_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'quality' has no partition 00003: run the stage"):
        read_column(tmp_path, "quality", "00003")
    with pytest.raises(UserError, match="'subject_pairs' does not exist yet"):
        read_relation(tmp_path, "subject_pairs")
