"""Lineage: from a sample to its source images, their records and what every column says of them."""

from __future__ import annotations

from x2i.inspect.gallery.lineage import presentable, source_by_key, sources_by_uid
from x2i.inspect.tables import dataset_overview, sample_document, shorten
from x2i.inspect.target import find_sample, open_target
from x2i.sample import placeholder
from x2i.store import Dataset


def test_a_sample_leads_to_its_image_and_to_every_column_about_it(dataset: Dataset) -> None:
    view = find_sample(open_target(dataset.root), "deblur-00000-00001")
    assert view is not None
    sources = sources_by_uid(dataset, view.sample.source.uids)
    document = sample_document(view, sources)
    source = document["sources"][0]
    assert source["key"] == "00000-00001"
    assert source["url"].endswith("chelsea.png")
    assert source["license"] == "CC0-1.0"
    assert set(source["columns"]) == {"captions", "embeddings", "entities", "quality"}
    assert source["columns"]["captions"][0]["caption"].startswith("A tabby cat")
    assert [image["name"] for image in document["images"]] == ["input_1.jpg", "output.jpg"]


def test_an_unknown_source_is_left_out_and_a_dropped_image_is_found_by_key(dataset: Dataset) -> None:
    assert sources_by_uid(dataset, ["no such uid"]) == {}
    lost = source_by_key(dataset, "00000-00005")
    assert lost is not None
    assert str(lost.record.reason) == "timeout"
    assert source_by_key(dataset, "00000-00099") is None


def test_what_no_person_reads_is_shortened() -> None:
    row = {"embedding": [0.1] * 384, "mask_counts": "abc", "phash": 255, "score": 0.123456, "none": None, "empty": ""}
    assert presentable(row) == {
        "embedding": "384 numbers",
        "mask_counts": "3 characters of COCO RLE",
        "phash": "00000000000000ff",
        "score": 0.1235,
    }


def test_the_overview_counts_what_is_there(dataset: Dataset) -> None:
    overview = dataset_overview(dataset)
    assert overview["images"]["attempted"] == 15
    assert overview["images"]["failed"] == {"http_client_error": 2, "timeout": 2}
    assert overview["columns"]["captions"] == 7
    assert overview["relations"] == {"duplicates": 7, "subject_pairs": 1}
    assert overview["tasks"]["deblur"]["samples"] == 4
    assert overview["stages"]["materialize-deblur"]["filtered"] == {"duplicate": 2, "no_caption": 1}


def test_placeholders_become_short_numbers_in_a_line_of_text() -> None:
    assert shorten(f"Take {placeholder(1)}\n and  {placeholder(12)}.", 80) == "Take [1] and [12]."
    assert shorten("x" * 50, 10) == "xxxxxxx..."


def test_pictures_of_a_column_are_counted() -> None:
    picture = {"bytes": b"\x89PNG", "path": None}
    assert presentable({"map": picture, "fillings": [picture, picture], "none": {"bytes": None, "path": None}}) == {
        "map": "1 picture",
        "fillings": "2 pictures",
        "none": {"bytes": None, "path": None},
    }
