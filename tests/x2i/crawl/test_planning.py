"""Planning by columns gives the identities and the order that looking at row after row would give."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.x2i.crawl.test_shard_source import write_tar
from x2i.crawl.planning.existing import ExistingImages
from x2i.crawl.planning.hash_set import SortedHashSet
from x2i.crawl.planning.identity import digests, normal_urls, prefixes_of, prefixes_of_uids, uids_of, url_uid
from x2i.crawl.planning.plan_rows import PlannedRows, plan_rows
from x2i.crawl.sources import open_source
from x2i.crawl.sources.batch import strings
from x2i.crawl.sources.notes import PlanningNotes
from x2i.store.files.atomic import TableFile, write_table
from x2i.store.plans import table_digest

ODD_URLS = [
    "http://a.example/1.jpg",
    "  http://a.example/1.jpg#top  ",
    "http://a.example/a b.jpg",
    "http://a.example/?q=1#",
    "http://[::1#half",
    "http://b\u00fccher.example/\u6771.jpg#x",
    "\u00a0http://a.example/nbsp.jpg\u2003",
    "http://a.example?#x",
    "data:image/png;base64,AAAA",
    "ftp://a.example/1.jpg",
    "www.a.example/1.jpg",
    "12345",
]


def plan(sources: list[str], root: Path) -> tuple[list[PlannedRows], PlanningNotes]:
    notes = PlanningNotes()
    return list(plan_rows([open_source(source) for source in sources], notes, ExistingImages(root, ()))), notes


def test_uids_and_urls_are_those_of_a_look_at_each_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ODD_URLS}), tmp_path / "t.parquet")
    pieces, notes = plan([str(tmp_path / "t.parquet")], tmp_path)
    rows = [row for piece in pieces for row in piece.rows.to_pylist()]
    assert [row["uid"] for row in rows] == list(dict.fromkeys(map(url_uid, ODD_URLS)))
    assert rows[0]["uid"] == hashlib.sha256(b"http://a.example/1.jpg").hexdigest()[:24]
    assert (notes.rows, notes.repeated) == (len(ODD_URLS), 1)
    assert [row["url"] for row in rows[1:5]] == [
        "http://a.example/a b.jpg",
        "http://a.example/?q=1",
        "http://[::1",
        "http://b\u00fccher.example/\u6771.jpg",
    ]


def test_rows_without_a_url_are_told_apart_by_their_number_over_all_sources(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("url,text\nhttp://a.example/1.jpg,x\n,none\n,none\n")
    pieces, notes = plan([str(tmp_path / name) for name in ("a.csv", "b.csv")], tmp_path)
    uids = [uid for piece in pieces for uid in piece.rows["uid"].to_pylist()]
    identities = ("row:0:2", "row:0:3", "row:1:5", "row:1:6")
    assert uids[1:] == [hashlib.sha256(name.encode()).hexdigest()[:24] for name in identities]
    assert notes.repeated == 1


def test_a_shard_member_keeps_its_fragment_and_an_address_of_the_web_loses_it(tmp_path: Path) -> None:
    members = [("1.jpg", b"x"), ("2.jpg", b"x"), ("2.json", b'{"url": "https://a.example/2.jpg#top"}')]
    write_tar(tmp_path / "a.tar", members)
    planned, _ = plan([str(tmp_path / "a.tar")], tmp_path)
    urls = [url for one in planned for url in one.rows["url"].to_pylist()]
    assert urls == [f"{(tmp_path / 'a.tar').as_uri()}#1.jpg", "https://a.example/2.jpg"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=8))
def test_normal_urls_and_uids_equal_the_plain_functions_on_any_text(texts: list[str]) -> None:
    found = normal_urls(strings(texts))
    assert uids_of(digests(found)).to_pylist() == [url_uid(text) for text in texts]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=12))
def test_seen_prefixes_agree_with_a_set(batches: list[list[int]]) -> None:
    seen, reference = SortedHashSet(), set[int]()
    for batch in batches:
        prefixes = np.array(batch, np.uint64) * np.uint64(2**58 + 12345)
        assert seen.contains(prefixes).tolist() == [value in reference for value in batch]
        expected = []
        for value in batch:
            expected.append(value not in reference)
            reference.add(value)
        assert seen.add(prefixes).tolist() == expected
    assert len(seen) == len(reference)


def test_the_prefix_of_a_uid_is_that_of_its_digest() -> None:
    digest = digests(strings([f"http://a.example/{n}" for n in range(50)]))
    assert prefixes_of_uids(uids_of(digest)).tolist() == prefixes_of(digest).tolist()
    assert int(uids_of(digest)[7].as_py()[:16], 16) == prefixes_of(digest)[7]


def test_a_digest_of_rows_does_not_depend_on_how_they_lie_in_memory() -> None:
    texts = ["", "caf\u00e9", None, "x" * 100, "\u6771"] * 20
    whole = pa.table({"text": pa.array(texts), "number": range(100)})
    pieces = pa.concat_tables([whole.slice(0, 33), whole.slice(33, 1), whole.slice(34)])
    assert table_digest(pieces) == table_digest(whole)
    assert table_digest(whole.slice(10, 50)) == table_digest(whole.slice(10, 50).combine_chunks())
    assert table_digest(whole.slice(10, 50)) != table_digest(whole.slice(11, 50))
    # the value itself is in every commit: it must never change
    fixed = pa.table({"a": ["b", None, "cd"]})
    expected = b"a:string:3:" + bytes([0, 1, 0]) + np.array([1, 0, 2], "<i8").tobytes() + b"bcd"
    assert table_digest(fixed) == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize("pieces", [[70_000, 1, 0, 65_535], [1] * 5, [65_536, 65_536]])
def test_a_table_written_piece_by_piece_has_the_bytes_of_one_written_at_once(tmp_path: Path, pieces: list[int]) -> None:
    whole = pa.table({"n": pa.array(range(sum(pieces))), "text": [str(n) for n in range(sum(pieces))]})
    with TableFile(tmp_path / "pieces.parquet") as file:
        start = 0
        for count in pieces:
            file.append(whole.slice(start, count))
            start += count
    write_table(tmp_path / "whole.parquet", whole)
    assert pq.read_table(tmp_path / "pieces.parquet").equals(whole)
    assert (tmp_path / "pieces.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_table_file_that_fails_or_gets_no_rows_leaves_nothing(tmp_path: Path) -> None:
    with TableFile(tmp_path / "none.parquet"):
        pass
    with suppress(RuntimeError), TableFile(tmp_path / "half.parquet") as file:
        file.append(pa.table({"n": range(70_000)}))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
