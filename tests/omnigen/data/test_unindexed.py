"""Shards of other makers, written by webdataset itself, are indexed on first use and then are shards like ours."""

from __future__ import annotations

import io
import json
import logging
import os

import pytest
from PIL import Image
from webdataset import TarWriter

from omnigen.data.loading.sample import Dropout, ImageReader, LoadedSample, load, make_planned_sample
from omnigen.data.shards.catalog import Catalog
from omnigen.tokenizer import ByteTokenizer
from tests.support.training_shards import photograph
from x2i.errors import UserError
from x2i.image import encode
from x2i.sample import placeholder
from x2i.store.files.cache import FileCache

SIZES = ((48, 32), (32, 64))


def jpeg(name, size):
    return encode(photograph(name, *size), "jpeg", 90)


def turned(data):
    """The same JPEG with an EXIF orientation that stands it on its side."""
    image, stream = Image.open(io.BytesIO(data)), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(stream, "jpeg", exif=exif)
    return stream.getvalue()


def sample(number, **changes):
    document = {"task": "restyle", "instruction": f"Paint {placeholder(1)} in oil.", "artist": "nobody"}
    source = jpeg("coffee", SIZES[0])
    files = {"input_1.jpg": source if number else turned(source), "output.jpg": jpeg("rocket", SIZES[1])}
    made = {"__key__": f"{number:04d}", "json": json.dumps(document).encode(), **files, **changes}
    return {name: data for name, data in made.items() if data is not None}


def write(folder, samples, name="00000.tar"):
    folder.mkdir(exist_ok=True)
    with open(folder / name, "wb") as stream, TarWriter(stream, encoder=False) as writer:
        for made in samples:
            writer.write(made)
    return folder


@pytest.fixture
def cache(tmp_path):
    return FileCache(tmp_path / "cache", 10**9)


def test_a_foreign_shard_is_a_shard_like_ours(tmp_path, cache):
    folder = write(tmp_path / "foreign", [sample(number) for number in range(6)])
    catalog = Catalog.open([folder], 0.3, cache=cache)
    assert (len(catalog), catalog.tasks) == (6, ("restyle",))
    assert 1 <= catalog.held_out.sum() <= 5
    reader = ImageReader(64, files=catalog.reader())
    for number in range(6):
        planned = make_planned_sample(0, catalog.sample_ref(number), Dropout.NONE, 64, ByteTokenizer())
        loaded = load(planned, reader)
        assert isinstance(loaded, LoadedSample)
        assert loaded.target.shape == (64, 32, 3)
        assert loaded.references[0].shape == ((48, 32, 3) if number == 0 else (32, 48, 3))


def test_upper_case_endings_are_those_of_other_cameras_and_systems(tmp_path, cache):
    """KEY.input_1.JPG is KEY.input_1.jpg, as webdataset reads it."""
    made = [sample(number) for number in range(3)]
    shouted = [{name if name == "__key__" else name.upper(): data for name, data in one.items()} for one in made]
    folder = write(tmp_path / "shouted", shouted)
    catalog = Catalog.open([folder], cache=cache)
    assert len(catalog) == 3
    loaded = load(make_planned_sample(0, catalog.sample_ref(1), Dropout.NONE, 64, ByteTokenizer()), ImageReader(64))
    assert isinstance(loaded, LoadedSample)
    assert loaded.target.shape == (64, 32, 3)
    folder = write(tmp_path / "both", [{**made[0], "output.JPG": made[0]["output.jpg"]}, made[1]])
    assert [Catalog.open([folder]).sample_ref(0).key] == ["0001"]


def test_the_index_is_made_once_and_again_if_the_tar_changes(tmp_path, cache):
    folder = write(tmp_path / "foreign", [sample(number) for number in range(3)])
    first = Catalog.open([folder / "00000.tar"], cache=cache)
    [index] = cache.folder.glob("*.parquet")
    made = index.stat().st_mtime_ns
    assert Catalog.open([folder], cache=cache).fingerprint() == first.fingerprint()
    assert [path.stat().st_mtime_ns for path in cache.folder.glob("*.parquet")] == [made]
    write(folder, [sample(number) for number in range(5)])
    assert len(Catalog.open([folder], cache=cache)) == 5


def test_a_shard_that_is_moved_renamed_or_on_another_machine_is_split_the_same_way(tmp_path):
    folder = write(tmp_path / "here", [sample(number) for number in range(12)])
    first = Catalog.open([folder], 0.3)
    (tmp_path / "deep").mkdir()
    moved = folder.rename(tmp_path / "deep/there")
    assert Catalog.open([moved], 0.3).fingerprint() == first.fingerprint()
    (moved / "00000.tar").rename(moved / "train-7.tar")
    assert Catalog.open([moved / "train-7.tar"], 0.3).fingerprint() == first.fingerprint()


def test_samples_of_one_key_in_two_folders_are_two_photographs(tmp_path):
    words = [json.dumps({"task": "restyle", "instruction": f"{n} {placeholder(1)}"}).encode() for n in range(2)]
    folders = [write(tmp_path / name, [sample(1, json=text)]) for name, text in zip("ab", words)]
    assert Catalog.open(folders, 0.01).held_out.sum() == 1


def test_sizes_and_sources_that_the_json_gives_are_used(tmp_path):
    document = {
        "task": "restyle",
        "instruction": placeholder(1),
        "sizes": [[7, 9], [5, 5]],
        "source": {"uids": ["a", "b"]},
    }
    folder = write(tmp_path / "foreign", [sample(1, json=json.dumps(document).encode())])
    catalog = Catalog.open([folder])
    assert [image[2:] for image in catalog.sample_ref(0).images] == [(7, 9), (5, 5)]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"json": None}, "the JSON member is missing"),
        ({"json": b"{"}, "sample '0001'"),
        ({"json": b"[]"}, "expected an object"),
        ({"json": b'{"instruction": "x"}'}, "task: found None"),
        ({"json": b'{"task": "a", "instruction": " "}'}, "instruction: found ' '"),
        ({"json": b'{"task": "a", "instruction": "no mark"}'}, r"marks images \[\], but it has 1 input images"),
        ({"json": b'{"task": "a", "instruction": "<img><|image_01|></img>"}'}, r"marks images \[01\], but"),
        ({"json": b'{"task": "a", "instruction": "<img><|image_1|></img> or <|image_2|>"}'}, "write each marker whole"),
        ({"input_1.jpg": b"no image"}, "not_an_image"),
        ({"output.jpg": None}, "0 output images"),
        ({"input_1.jpg": None, "input_2.jpg": b"x"}, r"numbered \[2\]"),
    ],
)
def test_a_sample_with_something_amiss_is_left_out_and_logged(tmp_path, changes, complaint, caplog):
    folder = write(tmp_path / "foreign", [sample(0), sample(1, **changes), sample(2)])
    with caplog.at_level(logging.WARNING):
        catalog = Catalog.open([folder])
    assert [catalog.sample_ref(number).key for number in range(2)] == ["0000", "0002"]
    assert len(catalog) == 2
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "2 samples name no source.uids" in told[0]
    assert "1 of 3 samples left out" in told[1]
    folder = write(tmp_path / "hopeless", [sample(1, **changes)])
    with pytest.raises(UserError, match=rf"00000.tar: no sample that can be trained on: .*{complaint}"):
        Catalog.open([folder])


def test_a_foreign_shard_that_is_damaged_or_dangerous_is_refused(tmp_path):
    folder = write(tmp_path / "pickled", [sample(0, pkl=b"x")])
    with pytest.raises(UserError, match="can carry code"):
        Catalog.open([folder])
    folder = write(tmp_path / "cut", [sample(0), sample(1)])
    os.truncate(folder / "00000.tar", 3000)
    with pytest.raises(UserError, match="truncated"):
        Catalog.open([folder])
    folder = write(tmp_path / "duplicates", [sample(0), sample(1), sample(0)])
    with pytest.raises(UserError, match="duplicate key '0000'"):
        Catalog.open([folder])
    folder = write(write(tmp_path / "two", [sample(0)]), [sample(0)], "00001.tar")
    with pytest.raises(UserError, match="duplicate key '0000', also in"):
        Catalog.open([folder])
