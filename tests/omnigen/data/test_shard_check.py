"""What a catalog refuses at start, though it reads no tar through."""

from __future__ import annotations

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnigen.data.shards.catalog import Catalog
from tests.support.training_shards import make_shards
from x2i.errors import UserError
from x2i.store.shards import SHARD_SCHEMA, find_shards

NAMES = ("chelsea", "coffee", "rocket")
EXTRA = {
    "pickle": ("colorize-chelsea-32x32.state.pkl", "can carry code"),
    "parent": ("../../evil.json", "absolute or '..' name"),
    "absolute": ("/etc/evil.json", "absolute or '..' name"),
}


@pytest.fixture
def shard(tmp_path):
    return find_shards(make_shards(tmp_path / "dataset", ("colorize",), NAMES, ((32, 32),)))[0]


def open_catalog(shard):
    return Catalog.open([shard.tar.parent.parent])


def members(tar):
    with tarfile.open(tar) as archive:
        return [(info, archive.extractfile(info).read()) for info in archive]


def rewrite(shard, contents):
    """Writes the tar again with `contents`, and an index that names what it named before, at its new place."""
    with tarfile.open(shard.tar, "w", format=tarfile.USTAR_FORMAT) as archive:
        for info, data in contents:
            archive.addfile(info, io.BytesIO(data))
    with tarfile.open(shard.tar) as archive:
        offsets = {info.name: info.offset_data for info in archive}
    rows = shard.index().to_pylist()
    for row in rows:
        row["json_offset"] = offsets[f"{row['key']}.json"]
        row["image_offsets"] = [offsets[f"{row['key']}.{name}"] for name in row["image_names"]]
    write_index(shard, rows)


def write_index(shard, rows):
    pq.write_table(pa.Table.from_pylist(rows, schema=SHARD_SCHEMA), shard.index_path)


def extra(name, data=b"x" * 700, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    return info, data


@pytest.mark.parametrize("place", [0, 4, 9], ids=["first", "middle", "last"])
@pytest.mark.parametrize("kind", EXTRA)
def test_a_member_outside_the_index_that_may_do_harm_is_refused(shard, kind, place):
    contents = members(shard.tar)
    name, reason = EXTRA[kind]
    contents.insert(place, extra(name))
    rewrite(shard, contents)
    with pytest.raises(UserError, match=rf"{shard.tar.name}: member '{name}' .*{reason}.*: refused"):
        open_catalog(shard)


def test_a_link_outside_the_index_is_refused(shard):
    link = extra("colorize-chelsea-32x32.link", b"", tarfile.SYMTYPE)
    rewrite(shard, [*members(shard.tar), link])
    with pytest.raises(UserError, match="is not a plain file"):
        open_catalog(shard)


def test_a_harmless_member_outside_the_index_is_no_matter(shard):
    rewrite(shard, [extra("README.txt"), *members(shard.tar), extra("notes.txt")])
    assert len(open_catalog(shard)) == 3


def test_bytes_between_members_that_are_no_header_are_refused(shard):
    contents = members(shard.tar)
    contents.insert(4, extra("notes.txt"))
    rewrite(shard, contents)
    with tarfile.open(shard.tar) as archive:
        header = archive.getmember("notes.txt").offset
    with open(shard.tar, "r+b") as stream:
        stream.seek(header)
        stream.write(b"rubbish" * 70)
    with pytest.raises(UserError, match=rf"{shard.tar.name}: damaged header at byte {header}"):
        open_catalog(shard)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("key", "../evil", "column key: found '../evil'"),
        ("key", "/evil", "column key: found '/evil'"),
        ("image_names", ["input_1.pkl", "output.png"], "column image_names: found 'input_1.pkl'"),
        ("image_names", ["input_1.png"], "column image_names: expected one entry for every"),
        ("image_sizes", [[32, 32], [32]], "expected \\(width, height\\) of every image"),
        ("image_sizes", [[32, 32], [0, 32]], "sides of at least 1 pixel"),
        ("image_offsets", [-512, 2048], "offsets and sizes that no tar has"),
        ("image_offsets", [1024, 1024], "members overlap"),
        ("instruction", None, "column instruction: 1 rows are empty"),
        ("json_offset", 3, "offsets and sizes that no tar has"),
    ],
)
def test_an_index_that_no_shard_has_is_refused(shard, column, value, complaint):
    rows = shard.index().to_pylist()
    rows[1][column] = value
    write_index(shard, rows)
    with pytest.raises(UserError, match=rf"{shard.index_path.name}: .*{complaint}"):
        open_catalog(shard)


def test_an_index_that_lies_about_a_place_in_the_middle_is_refused(shard):
    rows = shard.index().to_pylist()
    rows[1]["json_offset"] += 512
    write_index(shard, rows)
    with pytest.raises(UserError, match="of one making|damaged header|empty blocks|members overlap"):
        open_catalog(shard)


def test_a_shard_without_samples_is_no_hindrance(shard):
    make_shards(shard.tar.parent.parent, ("text_to_image",), NAMES, ((32, 32),))
    with tarfile.open(shard.tar, "w"):
        pass
    write_index(shard, [])
    assert len(open_catalog(shard)) == 3


def test_what_is_behind_the_last_member_must_be_the_end_mark(shard):
    last = max(o + b for row in shard.index().to_pylist() for o, b in zip(row["image_offsets"], row["image_bytes"]))
    end = -(-last // 512) * 512
    with open(shard.tar, "r+b") as stream:
        stream.seek(end)
        stream.write(b"no end mark here" * 32)
    with pytest.raises(UserError, match=f"damaged header at byte {end}"):
        open_catalog(shard)
