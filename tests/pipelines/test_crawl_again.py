"""Crawling into the same dataset again: only what is new is fetched, what was said twice is kept, nothing collides."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.commands.crawl import retract_transient_failures
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import StageSummary, execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.crawl.incremental import crawl_runs
from tests.pipelines.engine.test_engine import file_sums
from tests.support import REPOSITORY
from tests.support.command_line import typed
from tests.support.crawling import QUICK, crawl_stage, url_table
from tests.support.hostile_server import HostileServer, failing_first, image, photograph, reply
from x2i.annotate.quality import Quality
from x2i.errors import UserError
from x2i.store import Dataset, paths
from x2i.store.commits import list_commits

PHOTO = photograph(side=64)


def run(root: Path, *sources: str, reread: bool = False, **options: Any) -> dict[str, StageSummary]:
    """Does what `x2i crawl SOURCES --out ROOT` does; returns the summaries by stage."""
    shared = {name: options.pop(name) for name in ("limit", "overwrite", "dry_run") if name in options}
    run_options = RunOptions(executor=Executor.INLINE, **shared)
    stage = crawl_stage(sources=sources, **{"partition_size": 2, **QUICK, **options})
    dataset = Dataset.create(root, "again")
    stages = crawl_runs(dataset, stage, overwrite=run_options.overwrite, reread=reread)
    if stage.fetch.retry_failed:
        retract_transient_failures(dataset, stage)
    return {summary.stage: summary for summary in execute(stages, dataset, run_options)}


def sightings(root: Path, stage: str = "crawl") -> list[dict[str, Any]]:
    path = paths.sightings_file(root, stage)
    return pq.read_table(path).to_pylist() if path.exists() else []


def stored(root: Path) -> list[tuple[str, str]]:
    table = Dataset.open(root).images(["key", "url"])
    return [(key, url.rpartition("/")[2]) for key, url in zip(table["key"].to_pylist(), table["url"].to_pylist())]


@pytest.fixture
def site(hostile_server: HostileServer) -> Any:
    return hostile_server.site({f"/{n}.jpg": image(PHOTO) for n in range(20)})


def table(path: Path, site: Any, numbers: list[int], word: str = "text") -> str:
    return url_table(path, [site.url(f"/{n}.jpg") for n in numbers], [f"{word} {n}" for n in numbers])


def test_every_further_mention_of_an_image_is_kept_with_where_it_stands(site: Any, tmp_path: Path) -> None:
    first = table(tmp_path / "a.csv", site, [0, 1, 0])
    second = table(tmp_path / "b.csv", site, [1, 2], "other")
    summary = run(tmp_path / "data", first, second)["crawl"]
    assert (summary.planned_rows, summary.skipped) == (3, {"repeated": 2, "sightings": 2})
    index = Dataset.open(tmp_path / "data").images(["uid", "text"])
    assert index["text"].to_pylist() == ["text 0", "text 1", "other 2"]
    found = [(row["uid"], row["source"], row["row"], row["text"]) for row in sightings(tmp_path / "data")]
    uids = index["uid"].to_pylist()
    assert found == [(uids[0], first, 3, "text 0"), (uids[1], second, 1, "other 1")]
    assert sum(site.hits[f"/{n}.jpg"] for n in range(20)) == 3


def test_a_table_that_has_grown_fetches_only_its_new_rows(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    source = table(tmp_path / "a.csv", site, [0, 1, 2])
    run(root, source)
    before = file_sums(root)
    assert run(root, source)["crawl"].ran == 0
    table(tmp_path / "a.csv", site, [5, 0, 1, 2, 4])
    summary = run(root, source)["crawl-2"]
    assert (summary.planned_rows, summary.ran, summary.skipped) == (2, 1, {"known": 3})
    assert stored(root) == [
        ("00000-00000", "0.jpg"),
        ("00000-00001", "1.jpg"),
        ("00001-00000", "2.jpg"),
        ("00002-00000", "5.jpg"),
        ("00002-00001", "4.jpg"),
    ]
    assert all(site.hits[f"/{n}.jpg"] == 1 for n in (0, 1, 2, 4, 5))
    assert {name: file_sums(root)[name] for name in before} == before
    assert run(root, source)["crawl-2"].ran == 0
    [annotated] = execute([AnnotateStage(Quality())], Dataset.open(root), RunOptions(executor=Executor.INLINE))
    assert annotated.counts.total == 5


def test_other_sources_add_what_they_alone_have_and_what_they_say_otherwise(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    run(root, table(tmp_path / "a.csv", site, [0, 1, 2]))
    summary = run(root, table(tmp_path / "b.csv", site, [1, 2, 3], "other"))["crawl-2"]
    assert summary.skipped == {"known": 2, "sightings": 2}
    assert [row["text"] for row in sightings(root, "crawl-2")] == ["other 1", "other 2"]
    # the same words a third time say nothing new
    summary = run(root, table(tmp_path / "c.csv", site, [2, 1, 9], "other"))["crawl-3"]
    assert summary.skipped == {"known": 2}
    assert not sightings(root, "crawl-3")
    assert [name for _, name in stored(root)] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "9.jpg"]


def test_a_crawl_that_brings_nothing_is_remembered_and_replaced_by_the_next(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    run(root, table(tmp_path / "a.csv", site, [0, 1, 2]))
    for name in ("b.csv", "c.csv"):
        summary = run(root, table(tmp_path / name, site, [1, 2]))["crawl-2"]
        assert (summary.planned_partitions, summary.skipped) == (0, {"known": 2})
    assert len(run(root, table(tmp_path / "d.csv", site, [3]))["crawl-2"].counts.failed) == 0
    assert sorted(path.name for path in (root / "plans").iterdir() if path.is_dir()) == ["crawl", "crawl-2"]


def test_an_unfinished_crawl_goes_on_when_its_table_has_grown(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    source = table(tmp_path / "a.csv", site, [0, 1, 2, 3])
    run(root, source, limit=1)
    table(tmp_path / "a.csv", site, [0, 1, 2, 3, 4])
    summaries = run(root, source)
    assert (summaries["crawl"].ran, summaries["crawl-2"].ran, summaries["crawl-2"].planned_rows) == (1, 1, 1)
    assert [name for _, name in stored(root)] == [f"{n}.jpg" for n in range(5)]


def test_changed_options_are_refused_for_the_same_sources_and_told_for_others(
    site: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    source = table(tmp_path / "a.csv", site, [0, 1])
    run(root, source)
    with pytest.raises(UserError, match="option max_side: 1024 -> 32"):
        run(root, source, max_side=32)
    run(root, table(tmp_path / "b.csv", site, [2]), max_side=32)
    assert "crawl-2 stores its images with other options than crawl: max_side 1024 -> 32" in capsys.readouterr().err
    assert Dataset.open(root).images(["width"])["width"].to_pylist() == [64, 64, 32]
    run(root, source, max_side=16, overwrite=True)
    assert Dataset.open(root).images(["width"])["width"].to_pylist() == [16, 16, 32]
    with pytest.raises(UserError, match="00001 belongs to a later crawl"):
        run(root, source, max_side=16, partition_size=1, overwrite=True)


def test_a_file_that_changed_is_stored_beside_what_it_was(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "photos"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(photograph(side=64, shift=n))
    run(root, str(folder))
    (folder / "1.jpg").write_bytes(photograph(side=64, shift=9))
    (folder / "3.jpg").write_bytes(photograph(side=64, shift=3))
    (tmp_path / "elsewhere").mkdir()
    moved = folder.rename(tmp_path / "elsewhere" / "photos")
    summary = run(root, str(moved))["crawl-2"]
    assert summary.skipped == {"known": 2, "changed": 1}
    assert [name for _, name in stored(root)] == ["0.jpg", "1.jpg", "2.jpg", "1.jpg", "3.jpg"]
    (moved / "4.jpg").write_bytes(photograph(side=64, shift=4))
    summary = run(root, str(moved))["crawl-3"]
    assert (summary.planned_rows, summary.skipped) == (1, {"known": 4})


def test_a_crawl_that_is_made_anew_keeps_its_numbers_whatever_an_import_has_added_since(tmp_path: Path) -> None:
    def photographs(folder: Path, first: int, count: int) -> str:
        folder.mkdir(exist_ok=True)
        for number in range(first, first + count):
            (folder / f"{number}.jpg").write_bytes(photograph(side=64, shift=number))
        lines = [f'{{"file_name": "{path.name}"}}\n' for path in sorted(folder.glob("*.jpg"))]
        (folder / "metadata.jsonl").write_text("".join(lines))
        return str(folder)

    def imported(count: int, first: int) -> None:
        folder = photographs(tmp_path / "imported", first, count)
        where = ("--out", str(tmp_path / "data"), "--executor", "inline", "--partition-size", "2")
        assert typed("import", "hf-images", folder, *where) == 0

    def crawled(folder: str, **options: Any) -> list[str]:
        return run(tmp_path / "data", folder, **options)

    imported(2, 0)
    crawled(one := photographs(tmp_path / "one", 10, 3))
    crawled(photographs(tmp_path / "two", 20, 2))
    imported(4, 2)
    before = stored(tmp_path / "data")
    crawled(one, overwrite=True)
    assert stored(tmp_path / "data") == before
    partitions = {
        stage: [commit.partition for commit in list_commits(tmp_path / "data", stage)] for stage in ("crawl", "crawl-2")
    }
    assert partitions == {"crawl": ["00001", "00002"], "crawl-2": ["00003"]}


def test_a_source_that_cannot_be_planned_is_no_crawl(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    source = table(tmp_path / "a.csv", site, [0, 1])
    run(root, source)
    (tmp_path / "b.csv").write_text(f"url,text\n{site.url('/7.jpg')},x\n{site.url('/8.jpg')},a,b\n")
    with pytest.raises(UserError, match="line 3 has 3 cells"):
        run(root, str(tmp_path / "b.csv"))
    assert run(root, source)["crawl"].ran == 0
    assert run(root, str(tmp_path / "b.csv"), skip_bad_lines=1)["crawl-2"].skipped == {"bad_lines": 1}
    assert [name for _, name in stored(root)] == ["0.jpg", "1.jpg", "7.jpg"]


def test_tables_beside_images_are_told_and_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.jpg").write_bytes(PHOTO)
    url_table(tmp_path / "photos" / "list.csv", ["http://a.example/1.jpg"])
    assert run(tmp_path / "data", str(tmp_path / "photos"))["crawl"].planned_rows == 1
    assert "1 table beside the images" in capsys.readouterr().err


def test_pages_are_read_again_only_when_asked(hostile_server: HostileServer, tmp_path: Path) -> None:
    page = {"Content-Type": "text/html"}
    old, new = b"<img src=1.jpg alt=one>", b"<img src=2.jpg alt=two><img src=1.jpg alt=one>"
    routes = {"/": failing_first(1, reply(200, old, page), reply(200, new, page))}
    site = hostile_server.site(routes | {f"/{n}.jpg": image(PHOTO) for n in (1, 2)})
    root = tmp_path / "data"
    run(root, site.url("/"))
    assert run(root, site.url("/"))["crawl"].ran == 0
    assert site.hits["/"] == 1
    summary = run(root, site.url("/"), reread=True)["crawl-2"]
    assert (summary.ran, summary.skipped) == (1, {"known": 1})
    assert [name for _, name in stored(root)] == ["1.jpg", "2.jpg"]
    with pytest.raises(UserError, match="--reread reads web pages again"):
        run(root, url_table(tmp_path / "a.csv", [site.url("/1.jpg")]), reread=True)


def test_retry_failed_looks_at_every_crawl_with_these_options(hostile_server: HostileServer, tmp_path: Path) -> None:
    late = {f"/{n}.jpg": failing_first(2, reply(503), image(PHOTO)) for n in (0, 1)}
    site = hostile_server.site(late)
    root = tmp_path / "data"
    for n, name in enumerate(("a.csv", "b.csv")):
        [summary] = run(root, table(tmp_path / name, site, [n])).values()
        assert dict(summary.counts.failed) == {"http_server_error": 1}
    summaries = run(root, str(tmp_path / "b.csv"), retry_failed=True)
    assert {name: summary.counts.ok for name, summary in summaries.items()} == {"crawl": 1, "crawl-2": 1}


def test_a_dry_run_tells_what_is_new_and_writes_nothing(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    source = table(tmp_path / "a.csv", site, [0, 1, 2])
    run(root, source)
    before = file_sums(root)
    table(tmp_path / "a.csv", site, [0, 1, 2, 3, 3])
    summary = run(root, source, dry_run=True)["crawl-2"]
    assert (summary.planned_rows, summary.skipped) == (1, {"repeated": 1, "known": 3, "sightings": 1})
    assert file_sums(root) == before


def test_a_damaged_plan_is_noticed_and_made_anew(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    source = table(tmp_path / "a.csv", site, [0, 1, 2, 3])
    run(root, source, limit=1)
    wanted = file_sums(root)["plans/crawl/00001.parquet"]
    planned = root / "plans/crawl/00001.parquet"
    size = planned.stat().st_size
    planned.write_bytes(bytes(size))  # what a power cut can leave of a file that was never synced
    assert "planned rows were damaged" in run(root, source)["crawl"].failed["00001"]
    summary = run(root, source)["crawl"]
    assert (summary.failed, summary.counts.ok) == ({}, 4)
    assert file_sums(root)["plans/crawl/00001.parquet"] == wanted


PLANNER = """
import sys
from pathlib import Path
from tests.support.crawling import crawl_stage
from pipelines.stages.crawl.incremental import crawl_runs
from pipelines.engine.planning import write_plan
from x2i.store import Dataset
dataset = Dataset.create(Path(sys.argv[1]), "again")
[stage] = crawl_runs(dataset, crawl_stage(sources=(sys.argv[2],), partition_size=50))
print("begin", flush=True)
write_plan(dataset, stage)
"""


@pytest.mark.slow
def test_sigkill_while_planning_leaves_the_plan_of_an_uninterrupted_run(tmp_path: Path) -> None:
    urls = [f"http://a.example/{n % 9000}.jpg" for n in range(12_000)]
    source = url_table(tmp_path / "urls.csv", urls)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def start(root: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PLANNER, str(root), source]
        process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    started = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    rng = random.Random(3)
    root = tmp_path / "killed"
    for _ in range(2):
        process = start(root)
        target = rng.randrange(5, 170)
        while process.poll() is None and len(list(root.glob("plans/crawl/*.parquet"))) < target:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert time.monotonic() - started < 60
    assert start(root).wait() == 0
    killed = {name: value for name, value in file_sums(root).items() if ".tmp-" not in name}
    assert killed == file_sums(tmp_path / "whole")
    assert len(sightings(root)) == 3000


def test_no_crawl_is_begun_twice(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name, numbers in (("a.csv", [0, 1, 2]), ("b.csv", [3]), ("c.csv", [4])):
        run(root, table(tmp_path / name, site, numbers))
    for name in ("a.csv", "b.csv", "c.csv"):
        [summary] = run(root, str(tmp_path / name)).values()
        assert summary.ran == 0
    partitions = [c.partition for stage in ("crawl", "crawl-2", "crawl-3") for c in list_commits(root, stage)]
    assert partitions == ["00000", "00001", "00002", "00003"]
