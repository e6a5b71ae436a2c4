"""Every importer of the registry keeps the same promises, shown on the example that it brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from x2i.importers import IMPORTERS
from x2i.importers.base import ImportRecord, Rejected, SourceImage
from x2i.importers.example import number_of
from x2i.importers.locations import Location, LocationReader
from x2i.importers.samples import checked
from x2i.options import option_fields


@pytest.fixture(params=IMPORTERS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def records_of(name: str, folder: Path) -> tuple[Path, list[ImportRecord]]:
    path = IMPORTERS.get(name).example(folder)
    found = [record for record in IMPORTERS.get(name)().records(path) if isinstance(record, ImportRecord | Rejected)]
    assert all(isinstance(record, ImportRecord) for record in found), found
    return path, [record for record in found if isinstance(record, ImportRecord)]


def images_of(record: ImportRecord) -> tuple[SourceImage, ...]:
    return (*record.images, *(record.sample.images if record.sample else ()))


def test_it_says_what_it_is(name: str) -> None:
    kind = IMPORTERS.get(name)
    assert kind.name == name
    assert kind.title
    assert kind.__doc__
    assert kind.makes
    assert set(kind.makes) <= {"images", "shards"}
    assert all(field.option.help and not field.required for field in option_fields(kind))


def test_records_come_in_the_same_order_each_time(name: str, tmp_path: Path) -> None:
    path, first = records_of(name, tmp_path)
    again = [record for record in IMPORTERS.get(name)().records(path) if isinstance(record, ImportRecord)]
    assert len(first) >= 3
    assert again == first


def test_moving_the_source_changes_no_record(name: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path, before = records_of(name, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = tmp_path / "there" / path.relative_to(tmp_path / "here")
    after = [record for record in IMPORTERS.get(name)().records(moved) if isinstance(record, ImportRecord)]
    assert after == before


def test_images_are_read_from_their_locations_and_words_stand_by_their_own_pictures(name: str, tmp_path: Path) -> None:
    path, records = records_of(name, tmp_path)
    reader = LocationReader(IMPORTERS.get(name)().root(path))
    told = 0
    for record in records:
        if record.sample is not None:
            assert isinstance(checked(record), ImportRecord), checked(record)
            number = number_of(reader.read(record.sample.output.location))
            assert f"picture {number}" in record.sample.instruction
            told += 1
        for image in record.images:
            number = number_of(reader.read(image.location))
            assert not image.text or f"picture {number}" in image.text
            told += bool(image.text)
    assert told >= 3


def test_locations_pass_through_a_plan_and_name_their_images(name: str, tmp_path: Path) -> None:
    _, records = records_of(name, tmp_path)
    locations = [image.location for record in records for image in images_of(record)]
    assert [Location.from_json(location.to_json()) for location in locations] == locations
    assert len({location.name for location in locations}) == len(set(locations))


def test_each_kind_that_it_makes_is_in_its_records(name: str, tmp_path: Path) -> None:
    _, records = records_of(name, tmp_path)
    makes = IMPORTERS.get(name).makes
    assert any(record.images for record in records) == ("images" in makes)
    assert all(record.sample for record in records) == ("shards" in makes)
