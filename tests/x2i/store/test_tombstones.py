"""The tombstone list: what it covers, and that a damaged record is never passed over."""

from __future__ import annotations

import pytest

from x2i.errors import UserError
from x2i.store.tombstones import (
    COMPLETE,
    TakedownRecord,
    Tombstones,
    host_is_among,
    next_number,
    read_record,
    record_file,
    write_record,
)


def record(**changes):
    fields = {"status": COMPLETE, "by": "Ada", "reason": "asked", "time": "2026-05-04T09:12:44+00:00", "removed": {}}
    lists = {"uids": (), "hosts": (), "sha256": (), "phashes": ()}
    return TakedownRecord(**{**fields, **lists, **changes})


def test_records_add_up_and_read_back_as_written(tmp_path):
    first = record(uids=("a",), hosts=("example.org",))
    second = record(uids=("b",), sha256=("0" * 64,), phashes=(("00000000000000ff", 2),))
    for one in (first, second):
        write_record(tmp_path, next_number(tmp_path), one)
    assert read_record(record_file(tmp_path, "00002")) == second
    assert next_number(tmp_path) == "00003"
    listed = Tombstones.load(tmp_path)
    assert listed.covers_source("a", "")
    assert listed.covers_source("b", "")
    assert listed.covers_source("c", "img.example.org")
    assert not listed.covers_source("c", "notexample.org")
    assert listed.covers_picture("0" * 64, 1 << 60)
    assert listed.covers_picture("1" * 64, 0xFC)
    assert not listed.covers_picture("1" * 64, 0xF8)


def test_an_empty_list_covers_nothing(tmp_path):
    listed = Tombstones.load(tmp_path)
    assert not listed
    assert not listed.covers_source("", "")
    assert not listed.covers_picture("", 0)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format_version": 2}'])
def test_a_damaged_record_is_an_error(tmp_path, text):
    write_record(tmp_path, "00001", record(uids=("a",)))
    record_file(tmp_path, "00001").write_text(text)
    with pytest.raises(UserError, match="damaged takedown record"):
        Tombstones.load(tmp_path)


@pytest.mark.parametrize(
    ("host", "inside"),
    [("a.org", True), ("x.y.A.org", True), ("a.org.", True), ("ba.org", False), ("org", False), ("", False)],
)
def test_a_host_lies_in_itself_and_in_what_is_above_it(host, inside):
    assert host_is_among(host, ["a.org"]) is inside
