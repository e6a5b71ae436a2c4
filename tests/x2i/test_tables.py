"""A table says what it is in its own file."""

from __future__ import annotations

import pyarrow as pa

from x2i.store.columns import read_column_rows, write_column
from x2i.store.paths import column_file
from x2i.tables import IMAGE_TYPE, TableSpec

MAPS = TableSpec(
    name="depth",
    title="Depth maps",
    made_by="annotate depth",
    schema=pa.schema([("key", pa.string()), ("depth", IMAGE_TYPE), ("nearest", pa.float32())]),
    encodings={"depth": "16-bit PNG, near is bright"},
)


def rows(count: int) -> pa.Table:
    images = [{"bytes": bytes([n]) * 5000, "path": f"{n}.png"} for n in range(count)]
    keys = [f"00000-{n:05d}" for n in range(count)]
    return pa.table({"key": keys, "depth": images, "nearest": [float(n) for n in range(count)]}, schema=MAPS.schema)


def test_a_file_says_what_its_table_is(tmp_path):
    path = write_column(tmp_path, "depth_small", "00000", rows(3), MAPS)
    found = TableSpec.read(path)
    assert found is not None
    assert found == MAPS
    assert found.image_fields == ("depth",)


def test_one_image_is_read_without_the_rest_of_its_file(tmp_path, monkeypatch):
    path = write_column(tmp_path, "depth", "00000", rows(100), MAPS)
    assert path == column_file(tmp_path, "depth", "00000")
    read: list[int] = []
    original = pa.parquet.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pa.parquet.ParquetFile,
        "read_row_groups",
        lambda file, groups, **options: read.extend(groups) or original(file, groups, **options),
    )
    found = read_column_rows(tmp_path, "depth", "00000", ["00000-00042", "00000-00500"])
    assert found["00000-00042"][0]["depth"]["bytes"] == bytes([42]) * 5000
    assert found["00000-00500"] == []
    assert len(read) == 1


def test_hugging_face_datasets_opens_the_field_as_an_image(tmp_path):
    import numpy as np
    from datasets import load_dataset

    from x2i.image import encode

    pixels = np.zeros((8, 12, 3), np.uint8)
    table = pa.table(
        {"key": ["a"], "depth": [{"bytes": encode(pixels, "png"), "path": "a.png"}], "nearest": [1.0]},
        schema=MAPS.schema,
    )
    path = write_column(tmp_path / "data", "depth", "00000", table, MAPS)
    opened = load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
    assert opened[0]["depth"].size == (12, 8)


def test_duckdb_reads_the_bytes(tmp_path):
    import duckdb

    path = write_column(tmp_path, "depth", "00000", rows(3), MAPS)
    sql = f"SELECT octet_length(depth.bytes), nearest FROM read_parquet('{path}') WHERE key = '00000-00002'"
    assert duckdb.sql(sql).fetchall() == [(5000, 2.0)]
