"""What people type becomes the identities that the store keeps."""

from __future__ import annotations

import pytest

from x2i.crawl.planning.identity import url_uid
from x2i.crawl.sources.folder import FolderSource
from x2i.crawl.sources.notes import PlanningNotes
from x2i.errors import UserError
from x2i.image import decode, phash, sha256
from x2i.importers.example import picture
from x2i.takedown.request import RequestOptions, read_request


def test_values_are_brought_into_the_forms_of_the_store():
    request = read_request(
        {
            "url": [" http://a.org/b.jpg#part "],
            "host": ["IMG.Example.org."],
            "sha256": ["AB" * 32],
            "phash": ["0x00000000000000FF"],
            "uid": ["x", ""],
        },
        3,
    )
    assert request.urls == {"http://a.org/b.jpg"}
    assert request.source_uids == {"x", url_uid("http://a.org/b.jpg"), "ab" * 12}
    assert request.hosts == {"img.example.org"}
    assert request.sha256 == {"ab" * 32}
    assert (request.phashes, request.distance) == ({255}, 3)


def test_a_fragment_counts_where_it_names_a_member_of_a_file():
    urls = ["file:///shards/00000.tar#001.jpg", "s3://films/a.mp4#t=1.500", "HTTPS://a.org/b.jpg#part"]
    assert read_request({"url": urls}, 0).urls == {*urls[:2], "https://a.org/b.jpg"}


def test_a_picture_stands_for_its_hashes(tmp_path):
    data = picture(3)
    for name in ("a.jpg", "b.HEIC"):
        (tmp_path / name).write_bytes(data)
        named = [str(tmp_path / name)]
        request = read_request({"sha256": named, "phash": named}, 2)
        assert request.sha256 == {sha256(data)}
        assert request.phashes == {int(phash(decode(data)))}
        assert RequestOptions(sha256=tuple(named)).request().sha256 == {sha256(data)}
    (tmp_path / "no.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"no\.jpg: not a picture"):
        read_request({"phash": [str(tmp_path / "no.jpg")]}, 0)


@pytest.mark.parametrize("name", ["my photo (1).JPG", "猫 #2.jpg", "100%.jpg"])
def test_a_path_means_the_url_that_a_crawl_of_its_folder_stores(tmp_path, monkeypatch, name):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / name).write_bytes(b"")
    (row,) = FolderSource(str(tmp_path / "photos")).rows(PlanningNotes())
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "photos" / name
    for text in (row.url, str(path), f"photos/{name}", f"file://{path}"):
        assert read_request({"url": [text]}, 0).urls == {row.url}
    path.unlink()
    assert read_request({"url": [str(path)]}, 0).urls == {row.url}


def test_nothing_named_is_no_request():
    assert not read_request({"url": [], "host": [" "]}, 5)


@pytest.mark.parametrize(
    ("named", "distance", "words"),
    [
        ({"phash": ["xyz"]}, 0, "phash: expected 16 hex digits or a picture, found 'xyz'"),
        ({"host": ["a.org/path"]}, 0, "host: expected a name"),
        ({"phash": ["0" * 16]}, 16, "distance: expected 0 to 15"),
    ],
)
def test_a_mistake_names_the_value(named, distance, words):
    with pytest.raises(UserError, match=words):
        read_request(named, distance)
