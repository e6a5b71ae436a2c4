"""The crawl stage: what it plans, in which order it writes, what it keeps."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.commands.crawl import retract_transient_failures
from pipelines.stages.crawl.stage import CrawlStage
from tests.support import REPOSITORY
from tests.support.crawling import LOOPBACK, QUICK, crawl, crawl_stage, planned_partitions, url_table
from tests.support.hostile_server import HostileServer, failing_first, image, photograph, reply, slowly
from x2i.crawl.process import StoredFormat
from x2i.errors import UserError
from x2i.store import Dataset, paths
from x2i.store.commits import Commit, describe_outputs, list_commits, write_commit
from x2i.store.files.tar import read_range

PHOTO = photograph()


def test_bytes_do_not_depend_on_concurrency_or_answer_order(hostile_server: HostileServer, tmp_path: Path) -> None:
    routes = {
        f"/{n}.jpg": slowly(0.2 * (n % 3 == 0), after_head=True, data=photograph(side=64, shift=4 * n))
        for n in range(12)
    }
    site = hostile_server.site(routes)
    source = url_table(tmp_path / "urls.csv", [site.url(f"/{n}.jpg") for n in range(13)])
    for concurrency in (1, 12):
        stage = crawl_stage(sources=(source,), concurrency=concurrency, per_host=concurrency, partition_size=5, **QUICK)
        records = crawl(tmp_path / f"at{concurrency}", stage)
        assert [record.key for record in records] == [f"{n // 5:05d}-{n % 5:05d}" for n in range(13)]
    for name in ("00000.tar", "00000.parquet", "00001.tar", "00001.parquet", "00002.tar", "00002.parquet"):
        one, many = ((tmp_path / f"at{n}" / "images" / name).read_bytes() for n in (1, 12))
        assert one == many, name


def test_a_url_named_twice_is_planned_once_and_its_first_text_wins(tmp_path: Path) -> None:
    urls = ["http://a.example/1.jpg", "http://a.example/2.jpg", "http://a.example/1.jpg#top"]
    stage = crawl_stage(sources=(url_table(tmp_path / "urls.csv", urls, ["first", "second", "third"]),))
    [partition] = planned_partitions(tmp_path / "data", stage)
    assert partition.rows["url"].to_pylist() == urls[:2]
    assert partition.rows["text"].to_pylist() == ["first", "second"]


def test_pages_give_rows_and_failed_pages_are_told(
    hostile_server: HostileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = b"""<html><link rel=license href="https://creativecommons.org/publicdomain/zero/1.0/">
      <a href=a.html>a</a><a href=/gone.html>b</a><a href=optout.html>c</a><a href="http://other.example/">d</a>
      <figure><img src=1.jpg alt="a woman in orange" title=Eileen><figcaption>The astronaut</figcaption></figure>"""
    page = {"Content-Type": "text/html; charset=utf-8"}
    routes = {
        "/index.html": reply(200, index, page),
        "/a.html": reply(200, "<a href=deeper.html>x</a><img src=2.jpg alt='caf\u00e9'>".encode(), page),
        "/optout.html": reply(200, b'<meta name=robots content="noai"><img src=3.jpg>', page),
        "/deeper.html": reply(200, b"<img src=4.jpg>", page),
        "/1.jpg": image(PHOTO),
        "/2.jpg": image(PHOTO),
    }
    site = hostile_server.site(routes)
    stage = crawl_stage(sources=(site.url("/index.html"),), depth=1, **QUICK)
    records = crawl(tmp_path / "data", stage)
    assert [(r.url, r.text, str(r.status)) for r in records] == [
        (site.url("/1.jpg"), "a woman in orange", "ok"),
        (site.url("/2.jpg"), "caf\u00e9", "ok"),
    ]
    assert records[0].license == "https://creativecommons.org/publicdomain/zero/1.0/"
    assert json.loads(records[0].extra) == {"title": "Eileen", "figcaption": "The astronaut"}
    assert records[0].page_url == site.url("/index.html")
    assert "2 of 4 pages, records and files gave no images: 1 http_client_error, 1 opt_out" in capsys.readouterr().err
    log = [json.loads(line) for line in paths.log_file(tmp_path / "data", "crawl").read_text().splitlines()]
    failed = {line["url"]: line["reason"] for line in log if line["event"] == "page"}
    assert failed == {site.url("/gone.html"): "http_client_error", site.url("/optout.html"): "opt_out"}
    assert not site.hits["/deeper.html"]


def test_the_page_budget_holds(hostile_server: HostileServer, tmp_path: Path) -> None:
    page = {"Content-Type": "text/html"}
    routes = {
        f"/{n}.html": reply(200, f"<img src={n}.jpg><a href={n + 1}.html>on</a><a href={n + 100}.html>".encode(), page)
        for n in range(300)
    }
    site = hostile_server.site(routes)
    stage = crawl_stage(sources=(site.url("/0.html"),), depth=50, max_pages=7, **QUICK)
    [partition] = planned_partitions(tmp_path / "data", stage)
    assert partition.rows.num_rows == 7
    assert sum(site.hits.values()) == 9  # seven pages, robots.txt and tdmrep.json


def test_a_source_that_names_no_image_is_an_error(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({})
    stage = crawl_stage(sources=(site.url("/index.html"),), **QUICK)
    with pytest.raises(UserError, match="1 of 1 pages, records and files gave no images: 1 http_client_error"):
        list(stage.plan(Dataset.create(tmp_path / "data")))


def test_a_folder_is_stored_with_its_captions_and_without_gps(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010F], exif[0x8825] = "MakerOfCameras", {1: "N", 2: (48.0, 51.0, 30.0)}
    (folder / "deep" / "1.jpg").write_bytes(photograph(exif=exif))
    (folder / "deep" / "1.txt").write_text("A woman\n in orange ")
    (folder / "2.png").write_bytes(photograph(format="PNG"))
    (folder / "2.json").write_text('{"caption": "the same", "license": "CC0", "year": 1993}')
    (folder / "broken.jpg").write_bytes(PHOTO[:500])
    (folder / ".hidden.jpg").write_bytes(PHOTO)
    stage = crawl_stage(sources=(str(folder),), format=StoredFormat.KEEP)
    records = crawl(tmp_path / "data", stage)
    assert [(Path(r.url).name, r.text, r.license, str(r.reason or r.format)) for r in records] == [
        ("2.png", "the same", "CC0", "png"),
        ("broken.jpg", "", "", "image_truncated"),
        ("1.jpg", "A woman\n in orange", "", "jpeg"),
    ]
    assert json.loads(records[0].extra) == {"year": 1993}
    stored = read_range(tmp_path / "data" / "images" / "00000.tar", records[2].data_offset, records[2].data_size)
    assert b"MakerOfCameras" not in stored
    assert b"Exif" not in stored
    moved = tmp_path / "elsewhere" / "photos"
    shutil.move(folder, moved)
    again = crawl(tmp_path / "again", crawl_stage(sources=(str(moved),), format=StoredFormat.KEEP))
    assert [record.uid for record in again] == [record.uid for record in records]


def test_a_table_cannot_name_files_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(photograph(format="PNG"))
    [record] = crawl(tmp_path / "data", crawl_stage(sources=(url_table(tmp_path / "urls.csv", [secret.as_uri()]),)))
    assert str(record.reason) == "bad_url"


def test_a_saved_page_reads_files_of_its_own_folder_only(tmp_path: Path) -> None:
    (tmp_path / "site" / "page_files").mkdir(parents=True)
    (tmp_path / "site" / "page_files" / "a b.jpg").write_bytes(PHOTO)
    (tmp_path / "outside.jpg").write_bytes(PHOTO)
    page = tmp_path / "site" / "page.html"
    page.write_text('<img src="page_files/a b.jpg" alt=in><img src="../outside.jpg" alt=out>')
    records = crawl(tmp_path / "data", crawl_stage(sources=(str(page),)))
    assert [(r.text, str(r.reason or r.status)) for r in records] == [("in", "ok"), ("out", "bad_url")]


def test_every_kind_of_table_plans_the_same_rows(tmp_path: Path) -> None:
    rows = [{"url": f"http://a.example/{n}.jpg", "caption": f"no. {n}, \u00fc", "score": n} for n in range(3)]
    csv_text = "url,caption,score\n" + "".join(f'{r["url"]},"{r["caption"]}",{r["score"]}\n' for r in rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    files = {
        "t.csv": b"\xef\xbb\xbf" + csv_text.encode(),
        "t.csv.gz": gzip.compress(csv_text.encode()),
        "t.tsv": csv_text.replace('"', "").replace(", ", "; ").replace(",", "\t").replace("; ", ", ").encode(),
        "t.jsonl": lines.encode(),
        "t.jsonl.gz": gzip.compress(lines.encode()),
        "t.json": json.dumps(rows).encode(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for name in [*files, "t.parquet"]:
        stage = crawl_stage(sources=(str(tmp_path / name),), keep_col=("score",))
        [partition] = planned_partitions(tmp_path / "data", stage)
        assert partition.rows["url"].to_pylist() == [row["url"] for row in rows], name
        assert partition.rows["text"].to_pylist() == [row["caption"] for row in rows], name
        assert [str(json.loads(e)["score"]) for e in partition.rows["extra"].to_pylist()] == ["0", "1", "2"], name


def test_retry_failed_fetches_only_what_failed_for_a_passing_reason(
    hostile_server: HostileServer, tmp_path: Path
) -> None:
    late = photograph(shift=40)
    routes = {"/good.jpg": image(PHOTO), "/late.jpg": failing_first(2, reply(503), image(late)), "/404.jpg": reply(404)}
    site = hostile_server.site(routes)
    source = url_table(tmp_path / "urls.csv", [site.url(path) for path in ("/good.jpg", "/late.jpg", "/404.jpg")])
    root = tmp_path / "data"
    stage = crawl_stage(sources=(source,), **QUICK)
    _crawl_and_commit(root, stage)
    [commit] = list_commits(root, "crawl")
    assert (commit.counts.ok, dict(commit.counts.failed)) == (1, {"http_client_error": 1, "http_server_error": 1})
    hits = dict(site.hits)

    retrying = crawl_stage(sources=(source,), retry_failed=True, **QUICK)
    assert retract_transient_failures(Dataset.open(root), retrying) == 1
    _crawl_and_commit(root, retrying)
    [commit] = list_commits(root, "crawl")
    assert (commit.counts.ok, dict(commit.counts.failed)) == (2, {"http_client_error": 1})
    assert site.hits["/late.jpg"] == hits["/late.jpg"] + 1
    assert (site.hits["/good.jpg"], site.hits["/404.jpg"]) == (hits["/good.jpg"], hits["/404.jpg"])

    straight = tmp_path / "straight"
    _crawl_and_commit(straight, stage)
    for name in ("00000.tar", "00000.parquet"):
        assert (root / "images" / name).read_bytes() == (straight / "images" / name).read_bytes(), name
    assert retract_transient_failures(Dataset.open(root), retrying) == 0


def test_options_out_of_range_are_refused_with_their_name(tmp_path: Path) -> None:
    source = url_table(tmp_path / "urls.csv", ["http://a.example/1.jpg"])
    for options, word in (({"quality": 101}, "quality"), ({"max_side": 0}, "max_side"), ({"allow_net": ("x",)}, "net")):
        with pytest.raises(UserError, match=word):
            list(crawl_stage(sources=(source,), **options).plan(Dataset.create(tmp_path / "data")))


def test_network_patience_is_no_part_of_the_config(tmp_path: Path) -> None:
    hasty = crawl_stage(sources=("x.csv",), timeout=1, retries=0, concurrency=1, per_host=1, delay=5, retry_failed=True)
    assert hasty.config() == crawl_stage(sources=("x.csv",)).config()
    assert crawl_stage(sources=("x.csv",), allow_net=LOOPBACK).config() != crawl_stage(sources=("x.csv",)).config()


def _crawl_and_commit(root: Path, stage: CrawlStage) -> None:
    """What the engine does, as far as this test needs it."""
    worker = stage.worker(root)
    for partition in planned_partitions(root, stage):
        outcome = worker(partition.id, partition.rows)
        outputs = describe_outputs(root, outcome.outputs)
        write_commit(root, Commit("crawl", partition.id, 1, partition.config, {}, "plan", outputs, outcome.counts))


@pytest.mark.slow
def test_a_worker_holds_no_more_memory_after_many_partitions_than_after_a_few() -> None:
    command = [sys.executable, "-m", "benchmarks.memory", "--rows", "60000", "--partition-size", "2000"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    assert json.loads(done.stdout.splitlines()[-1])["growth_megabytes"] < 8
