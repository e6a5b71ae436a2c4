"""Tables of URLs on a store or behind a web address are read there, and planned; they are no pages to crawl."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.crawling import crawl_stage, planned_partitions
from tests.support.hostile_server import HostileServer, reply
from tests.support.s3 import bucket  # noqa: F401  a fixture
from x2i.crawl.sources import kind_of, open_source
from x2i.errors import UserError
from x2i.store.files.remote import dataset_path

ONE, TWO = "http://a.example/1.jpg", "http://a.example/2.jpg"


def planned_urls(root: Path, source: str) -> list[str]:
    stage = crawl_stage(sources=(source,))
    return [url for partition in planned_partitions(root, stage) for url in partition.rows["url"].to_pylist()]


def test_tables_on_a_store_are_read_by_name_pattern_or_folder(bucket: str, tmp_path: Path) -> None:  # noqa: F811
    folder = dataset_path(f"{bucket}/lists")
    for name, url in (("a.parquet", ONE), ("b.parquet", TWO)):
        pq.write_table(pa.table({"url": [url]}), tmp_path / name)
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    (folder / "c.csv").write_bytes(f"url\n{ONE}\n".encode())
    for source, found in {
        f"{bucket}/lists/a.parquet": [ONE],
        f"{bucket}/lists/*.parquet": [ONE, TWO],
        f"{bucket}/lists/c.csv": [ONE],
        f"{bucket}/lists": [ONE, TWO],
    }.items():
        assert kind_of(source).title == "table", source
        assert planned_urls(tmp_path / "data", source) == found, source
    pattern = f"{bucket}/lists/*.parquet"
    before = open_source(pattern).digest()
    assert open_source(pattern).digest() == before
    (folder / "a.parquet").write_bytes((tmp_path / "b.parquet").read_bytes())
    assert open_source(pattern).digest() != before


def test_a_table_that_is_not_on_the_store_is_named(bucket: str, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(UserError, match=r"lists/absent\.csv"):
        planned_urls(tmp_path / "data", f"{bucket}/lists/absent.csv")


def test_a_web_address_that_ends_like_a_table_is_a_table(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/urls.csv": reply(200, f"url,text\n{ONE},a\n".encode(), {"Content-Type": "text/csv"})})
    assert planned_urls(tmp_path / "data", site.url("/urls.csv")) == [ONE]
    with pytest.raises(UserError, match=r"absent\.csv"):
        planned_urls(tmp_path / "data", site.url("/absent.csv"))
