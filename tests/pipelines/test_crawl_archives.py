"""Crawling what needs no network: web archives, shards and videos, from a folder and from an object store."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.archives import HTML, JPEG, Archive
from tests.support.crawling import QUICK, crawl, crawl_stage, planned_partitions
from tests.support.films import frame_pixels, make_film
from tests.support.hostile_server import HostileServer, image, photograph
from tests.support.s3 import bucket  # noqa: F401  a fixture
from x2i.crawl.process import StoredFormat
from x2i.errors import UserError
from x2i.image_record import ImageRecord
from x2i.store import paths
from x2i.store.files.tar import read_range

PHOTOS = [photograph(shift=7 * number) for number in range(6)]


def stored_bytes(root: Path, record: ImageRecord) -> bytes:
    return read_range(paths.image_tar(root, paths.image_partition(record.key)), record.data_offset, record.data_size)


def web_archive(path: Path, link: str = "http://gone.example/x.jpg") -> Path:
    page = f"<img src=1.jpg alt='a woman'><img src='{link}' alt='on the web'>".encode()
    with Archive(path) as archive:
        archive.answer("http://a.example/1.jpg", PHOTOS[0])
        archive.answer("http://a.example/", page, [HTML])
        archive.answer("http://a.example/2.jpg", PHOTOS[1], [JPEG, ("X-Robots-Tag", "noai")])
        archive.answer("http://a.example/3.jpg", PHOTOS[2][:-500])
        archive.answer("http://b.example/1.jpg", PHOTOS[3])
        archive.answer("http://a.example/1.jpg", PHOTOS[4])
    return path


def shard(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for number, photo in enumerate(PHOTOS[:3]):
            fields = {"url": f"https://c.example/{number}.jpg", "caption": f"photo {number}", "license": "CC0"}
            for suffix, data in (("jpg", photo), ("json", json.dumps(fields).encode())):
                info = tarfile.TarInfo(f"{number:09d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def test_a_web_archive_is_stored_with_urls_words_status_and_opt_outs(tmp_path: Path) -> None:
    stage = crawl_stage(sources=(str(web_archive(tmp_path / "a.warc.gz")),), format=StoredFormat.KEEP)
    records = crawl(tmp_path / "data", stage)
    assert [(r.url, str(r.reason or r.status), r.text, r.http_status, r.host) for r in records] == [
        ("http://a.example/1.jpg", "ok", "a woman", 200, "a.example"),
        ("http://a.example/2.jpg", "opt_out", "", 200, "a.example"),
        ("http://a.example/3.jpg", "image_truncated", "", 200, "a.example"),
        ("http://b.example/1.jpg", "ok", "", 200, "b.example"),
    ]
    assert records[0].page_url == "http://a.example/"
    assert records[1].opt_out == "x-robots-tag: noai"
    assert stored_bytes(tmp_path / "data", records[0]) == PHOTOS[0]
    assert stored_bytes(tmp_path / "data", records[3]) == PHOTOS[3]


def test_links_of_an_archive_are_fetched_if_asked_for(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/x.jpg": image(PHOTOS[5])})
    path = web_archive(tmp_path / "a.warc", site.url("/x.jpg"))
    records = crawl(tmp_path / "data", crawl_stage(sources=(str(path),), warc_links=True, **QUICK))
    assert (records[0].url, records[0].text, str(records[0].status)) == (site.url("/x.jpg"), "on the web", "ok")
    assert [r.url for r in records[1:3]] == ["http://a.example/1.jpg", "http://a.example/2.jpg"]
    assert site.hits["/x.jpg"] == 1


def test_a_wat_file_is_fetched_from_the_web(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/1.jpg": image(PHOTOS[0])})
    with Archive(tmp_path / "a.warc.wat.gz") as archive:
        archive.wat(site.url("/page.html"), [{"path": "IMG@/src", "url": "1.jpg", "alt": "a woman"}])
        archive.metadata("http://x.example/", b"{broken")
    [record] = crawl(tmp_path / "data", crawl_stage(sources=(str(archive.path),), **QUICK))
    assert (record.url, record.text, str(record.status)) == (site.url("/1.jpg"), "a woman", "ok")
    assert record.page_url == site.url("/page.html")


def test_a_shard_is_stored_with_keys_captions_and_license(tmp_path: Path) -> None:
    records = crawl(tmp_path / "data", crawl_stage(sources=(str(shard(tmp_path / "00000.tar")),), partition_size=2))
    assert [(r.url, r.text, r.license, str(r.status)) for r in records] == [
        (f"https://c.example/{number}.jpg", f"photo {number}", "CC0", "ok") for number in range(3)
    ]
    assert [json.loads(r.extra)["key"] for r in records] == ["000000000", "000000001", "000000002"]
    assert len({r.uid for r in records}) == 3


def test_images_of_shards_that_share_their_name_have_identities_of_their_own(tmp_path: Path) -> None:
    uids = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        records = crawl(
            tmp_path / f"from-{folder}", crawl_stage(sources=(str(shard(tmp_path / folder / "00000.tar")),))
        )
        uids.append({record.uid for record in records})
    assert len(uids[0] | uids[1]) == 6
    (tmp_path / "else" / "where").mkdir(parents=True)
    shutil.move(tmp_path / "one", tmp_path / "else" / "where" / "one")
    moved = str(tmp_path / "else" / "where" / "one" / "00000.tar")
    assert {record.uid for record in crawl(tmp_path / "moved", crawl_stage(sources=(moved,)))} == uids[0]


def test_a_video_is_stored_frame_by_frame_with_clip_and_time(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", (2, 3))
    stage = crawl_stage(sources=(str(film),), format=StoredFormat.PNG, partition_size=2)
    records = crawl(tmp_path / "data", stage)
    extras = [json.loads(record.extra) for record in records]
    assert [extra["clip"] for extra in extras] == [0, 1, 1]
    assert [record.url for record in records] == [f"{film.as_uri()}#t={extra['seconds']:.3f}" for extra in extras]
    for record, extra in zip(records, extras):
        shown = np.asarray(Image.open(io.BytesIO(stored_bytes(tmp_path / "data", record))))
        since, length = (extra["seconds"], 2) if extra["clip"] == 0 else (extra["seconds"] - 2, 3)
        expected = frame_pixels(extra["clip"], since / length, 160, 120)
        assert np.abs(shown.astype(int) - expected).mean() < 16
    assert (records[0].width, records[0].height, records[0].host) == (160, 120, "")


def test_the_same_bytes_come_out_again_and_a_changed_archive_is_noticed(tmp_path: Path) -> None:
    film, tar = make_film(tmp_path / "film.mkv", (2, 2)), shard(tmp_path / "a.tar")
    warc = web_archive(tmp_path / "a.warc.gz")
    stage = crawl_stage(sources=(str(film), str(tar), str(warc)), partition_size=4, frame_interval=0.5, concurrency=2)
    for name in ("one", "two"):
        crawl(tmp_path / name, stage)
    files = sorted(path.name for path in (tmp_path / "one" / "images").iterdir())
    assert len(files) >= 8
    for name in files:
        one, two = ((tmp_path / folder / "images" / name).read_bytes() for folder in ("one", "two"))
        assert one == two, name
    before = {partition.id: partition.inputs for partition in planned_partitions(tmp_path / "three", stage)}
    shutil.rmtree(tmp_path / "three")
    with open(tar, "ab") as stream:
        stream.write(bytes(10240))
    after = {partition.id: partition.inputs for partition in planned_partitions(tmp_path / "three", stage)}
    assert set(before) == set(after)
    assert before["00000"] == after["00000"]
    assert before != after


def test_archives_on_an_object_store_give_the_same_images(bucket: str, tmp_path: Path) -> None:  # noqa: F811
    import s3fs

    files = [shard(tmp_path / "a.tar"), web_archive(tmp_path / "a.warc.gz"), make_film(tmp_path / "film.mp4", (2, 2))]
    fs = s3fs.S3FileSystem()
    for path in files:
        fs.put_file(str(path), f"{bucket}/archives/{path.name}")
    local = crawl(tmp_path / "local", crawl_stage(sources=tuple(str(path) for path in files)))
    sources = tuple(f"{bucket}/archives/{path.name}" for path in files)
    remote = crawl(tmp_path / "remote", crawl_stage(sources=sources))
    assert [(r.sha256, r.reason, r.text, r.extra) for r in remote] == [
        (r.sha256, r.reason, r.text, r.extra) for r in local
    ]
    assert len(remote) == 9
    assert len(crawl(tmp_path / "pattern", crawl_stage(sources=(f"{bucket}/archives/*.tar",)))) == 3
    assert remote[-1].url.startswith(f"{bucket}/archives/film.mp4#t=")


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("a.warc.gz", "fastwarc.warc", "warc"), ("film.mp4", "av", "video")]
)
def test_a_missing_library_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    web_archive(tmp_path / "a.warc.gz")
    make_film(tmp_path / "film.mp4", (1,))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'x2i\[{extra}\]'"):
        crawl(tmp_path / "data", crawl_stage(sources=(str(tmp_path / name),)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frame_interval": 0.0}, "frame_interval"),
        ({"scene_threshold": -1.0}, "scene_threshold"),
        ({"max_frames": 0}, "max_frames"),
    ],
)
def test_options_of_no_sense_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        crawl_stage(sources=("film.mp4",), **options)  # type: ignore[arg-type]
