"""Bytes are read back from wherever they lie, or the reason is said."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from x2i.importers.example import number_of, picture
from x2i.importers.locations import Location, LocationReader, location_states
from x2i.reasons import DroppedError, Reason


@pytest.fixture
def source(tmp_path: Path) -> Path:
    data = [picture(number) for number in range(6)]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/0.jpg").write_bytes(data[0])
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "sub/0.jpg", "0.jpg")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/1.jpg", data[1])
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": one, "path": f"{n}.jpg"} for n, one in enumerate(data)]
    cells += [{"bytes": None, "path": "0.jpg"}, {"bytes": None, "path": "../../a.zip"}, None]
    table = pa.table({"image": pa.array(cells, kind), "raw": pa.array([*data, None, b"", None])})
    pq.write_table(table, tmp_path / "sub/a.parquet", row_group_size=2)
    with pa.ipc.new_stream(tmp_path / "sub/a.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    return tmp_path


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_cells_are_read_in_any_order(source: Path, suffix: str) -> None:
    reader = LocationReader(source)
    for number in (5, 0, 3, 4, 1, 2):
        for field in ("image", "raw"):
            place = Location(f"sub/a.{suffix}", group=number // 2, row=number % 2, field=field)
            assert reader.read(place) == picture(number)


def test_a_cell_that_names_a_file_is_read_from_beside_its_table(source: Path) -> None:
    reader = LocationReader(source)
    assert number_of(reader.read(Location("sub/a.parquet", group=3, row=0, field="image"))) == 0
    with pytest.raises(DroppedError, match="leads outside"):
        reader.read(Location("sub/a.parquet", group=3, row=1, field="image"))


def test_members_are_read(source: Path) -> None:
    reader = LocationReader(source)
    with tarfile.open(source / "a.tar") as archive:
        member = archive.getmember("0.jpg")
    place = Location("a.tar", "0.jpg", member.offset_data, member.size)
    assert number_of(reader.read(place)) == 0
    assert place.name == "a.tar/0.jpg"
    assert number_of(reader.read(Location("a.zip", "in/1.jpg"))) == 1


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (Location("nowhere.jpg"), Reason.FILE_ERROR),
        (Location("a.zip", "nothing.jpg"), Reason.FILE_ERROR),
        (Location("sub/0.jpg", "x"), Reason.FILE_ERROR),
        (Location("sub/a.parquet", group=9, row=0, field="image"), Reason.FILE_ERROR),
        (Location("sub/a.parquet", group=3, row=0, field="raw"), Reason.BODY_EMPTY),
        (Location("sub/a.parquet", group=4, row=0, field="image"), Reason.BODY_EMPTY),
        (Location("a.tar", "0.jpg", 512, 10**6), Reason.BODY_TRUNCATED),
        (Location("https://example.org/a.jpg"), Reason.URL_ONLY),
    ],
)
def test_what_cannot_be_read_has_its_reason(source: Path, location: Location, reason: Reason) -> None:
    with pytest.raises(DroppedError) as error:
        LocationReader(source).read(location)
    assert error.value.verdict.reason is reason


@pytest.mark.parametrize(
    "location",
    [
        Location("sub/0.jpg"),
        Location("a.zip", "in/1.jpg"),
        Location("a.tar", "0.jpg", 512, 600),
        Location("sub/a.parquet", group=0, row=0, field="image"),
    ],
)
def test_no_more_than_the_budget_is_read(source: Path, location: Location) -> None:
    with pytest.raises(DroppedError) as error:
        LocationReader(source, max_bytes=100).read(location)
    assert error.value.verdict.reason is Reason.BODY_TOO_LARGE


def test_states_change_with_sizes_and_name_what_is_missing(source: Path) -> None:
    before = location_states({"sub/0.jpg", "nowhere"}, source)
    assert before[0] == ["nowhere", None]
    (source / "sub/0.jpg").write_bytes(b"else")
    assert location_states({"sub/0.jpg", "nowhere"}, source) == [["nowhere", None], ["sub/0.jpg", 4]]
