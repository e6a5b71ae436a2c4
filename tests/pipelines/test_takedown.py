"""A takedown: what it removes is nowhere, everything else keeps its bytes, and nothing brings it back."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.commands.takedown import take_down
from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import StageSummary, execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.crawl.incremental import crawl_runs
from pipelines.stages.imports import ImportShards
from pipelines.stages.relate.duplicates import DuplicatesStage
from tests.pipelines.engine.test_engine import file_sums
from tests.support.crawling import url_table
from tests.support.forked import ForkedCommand, run_forked
from tests.support.s3 import bucket  # noqa: F401  a fixture
from tests.support.takedown_site import (
    CAPTION,
    COFFEE,
    COPY,
    SMALL,
    Site,
    key_of,
    members,
    needles_of,
    related_pictures,
    traces,
)
from x2i.annotate.quality import Quality
from x2i.crawl.planning.identity import url_uid
from x2i.errors import UserError
from x2i.image import sha256
from x2i.importers.x2i_jsonl import X2IJsonl
from x2i.reasons import Reason, Status
from x2i.store import Dataset
from x2i.store.commits import list_commits, list_stages
from x2i.store.files.locks import shared_lock
from x2i.store.files.remote import dataset_path
from x2i.store.images import record_from_row
from x2i.store.tombstones import Tombstones
from x2i.store.verify.verify import Level, verify
from x2i.takedown.request import Request, read_request

INLINE = RunOptions(executor=Executor.INLINE)
X2I = str(Path(sys.executable).with_name("x2i"))
SIGNED: dict[str, str] = {"by": "Ada", "reason": "the photographer asks"}


def build(root: Path, site: Site) -> list[StageSummary]:
    dataset = Dataset.create(root, "taken")
    return [summary for group in site.stages() for summary in execute(group, dataset, INLINE)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    with related_pictures(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def whole(site, tmp_path_factory) -> Path:
    """A dataset that every stage has finished."""
    root = tmp_path_factory.mktemp("whole") / "data"
    assert not any(summary.failed for summary in build(root, site))
    return root


@pytest.fixture
def root(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "data")
    return tmp_path / "data"


def request(**named: str) -> Request:
    return read_request({name: [value] for name, value in named.items()}, 0)


def assert_green(root: Path) -> None:
    for level in Level:
        report = verify(root, level)
        assert report.ok, report.findings
        assert not report.outdated


def assert_at_rest(root: Path, site: Site) -> None:
    """The same stage commands find everything done, refuse nothing and change no byte."""
    before = file_sums(root)
    for summary in build(root, site):
        assert (summary.ran, summary.failed) == (0, {}), summary
    assert file_sums(root) == before


def test_the_dataset_has_every_kind_of_descendant(whole, site):
    """Otherwise the tests below would prove little."""
    key = key_of(whole, site.url(COFFEE))
    held = traces(whole, [*needles_of(whole, COFFEE, COPY, SMALL), key])
    for name in (
        "images/00000.tar",
        "images/00000.parquet",
        "plans/crawl/00000.parquet",
        "relations/duplicates.parquet",
    ):
        assert name in held
    for folder in (
        "columns/captions",
        "columns/entities",
        "columns/embeddings",
        "columns/quality",
        "relations/subject",
    ):
        assert any(name.startswith(folder) for name in held), folder
    shards = {name.split("-")[0] for name in held if name.startswith("shards/")}
    assert shards == {"shards/text_to_image", "shards/subject_pair", "shards/deblur", "shards/few_shot"}
    clusters = {row["key"]: row["cluster"] for row in Dataset.open(whole).relation("duplicates").to_pylist()}
    assert list(clusters.values()).count(key) >= 3


def test_what_is_taken_down_by_url_is_nowhere_and_all_else_keeps_its_bytes(root, site):
    needles, key = needles_of(root, COFFEE), key_of(root, site.url(COFFEE))
    assert {site.url(COFFEE), CAPTION} < needles
    assert sum(isinstance(needle, bytes) for needle in needles) > 2
    before = members(root)
    (root / "logs/crawl.jsonl").open("a").write(json.dumps({"event": "page", "url": site.url(COFFEE)}) + "\n")
    lost = {name for name in before if key in name}
    result = take_down(root, request(url=site.url(COFFEE) + "#fragment"), **SIGNED)
    assert (result["stored_images"], result["samples"] > 4) == (1, True)
    assert traces(root, needles) == {}
    after = members(root)
    assert {n: d for n, d in after.items() if n not in before or before[n] != d} == {}
    assert set(before) - set(after) == lost
    rows = [row for row in Dataset.open(root).images().to_pylist() if row["key"] == key]
    record = record_from_row(rows[0])
    assert (record.status, record.reason, record.url, record.text) == (Status.FILTERED, Reason.TAKEN_DOWN, "", "")
    for folder in (root / "columns").iterdir():
        assert key not in Dataset.open(root).column(folder.name)["key"].to_pylist()
    assert key not in repr([Dataset.open(root).relation(n).to_pylist() for n in ("duplicates", "subject_pairs")])
    assert {entry["why"] for entry in result["also"]} == {"the same bytes", "looks the same"}
    assert_green(root)
    assert_at_rest(root, site)


def test_a_picture_and_all_its_copies_are_gone_by_hash(root, site):
    """sha256 and phash name all three; what is left of them is the tombstone, which has to hold what it keeps out."""
    needles = needles_of(root, COFFEE, COPY, SMALL)
    digest = sha256((site.folder / COFFEE).read_bytes())
    assert digest in needles
    small = Dataset.open(root).image(key_of(root, site.url(SMALL)))[0].phash
    asked = read_request({"sha256": [digest], "phash": [f"{small:016x}"]}, 0)
    result = take_down(root, asked, **SIGNED)
    assert result["stored_images"] == 3
    assert traces(root, needles, skip=["takedowns/"]) == {}
    assert_green(root)
    assert_at_rest(root, site)


def test_duplicates_are_judged_again_as_dedup_would(root, site):
    take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    relation = pq.read_table(root / "relations/duplicates.parquet")
    (root / "commits/duplicates/00000.json").unlink()
    execute([DuplicatesStage()], Dataset.open(root), INLINE)
    assert pq.read_table(root / "relations/duplicates.parquet").equals(relation)
    assert sum(relation["is_duplicate"].to_pylist()) >= 1


def test_the_result_is_what_a_crawl_with_the_tombstones_would_have_written(root, site, tmp_path):
    take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    fresh = tmp_path / "fresh"
    shutil.copytree(root / "takedowns", fresh / "takedowns")
    execute(site.stages()[0], Dataset.create(fresh, "taken"), INLINE)
    for pattern in ("images/*", "plans/crawl/*", "commits/crawl/*"):
        names = sorted(path.relative_to(fresh).as_posix() for path in fresh.glob(pattern))
        assert names
        assert {n: (fresh / n).read_bytes() for n in names} == {n: (root / n).read_bytes() for n in names}


def test_a_crawl_does_not_bring_it_back(root, site, tmp_path):
    """Neither its URL in another table, nor its bytes or its looks under another URL; its host stays out too."""
    digest = sha256((site.folder / COFFEE).read_bytes())
    take_down(root, request(sha256=digest), **SIGNED)
    take_down(root, request(url=site.url("grass.jpg")), **SIGNED)
    take_down(root, request(host="localhost"), **SIGNED)
    near = Dataset.open(root).images().to_pylist()[0]
    take_down(root, read_request({"phash": [f"{near['phash']:016x}"]}, 6), **SIGNED)
    names = [COFFEE, f"{COPY}?v=2", "grass.jpg", "astronaut.jpg?v=2", f"{SMALL}?v=2", "rocket.jpg"]
    table = url_table(tmp_path / "more.csv", [site.url(name) for name in names])
    other = tmp_path / "other"
    shutil.copytree(root / "takedowns", other / "takedowns")
    execute([replace(site.crawl, sources=(table,))], Dataset.create(other, "other"), INLINE)
    rows = Dataset.open(other).images().to_pylist()
    assert [row["reason"] for row in rows] == ["taken_down"] * 5 + [None]
    assert [bool(row["url"]) for row in rows] == [False, True, False, False, True, True]
    assert site.url("astronaut.jpg") not in repr(pq.read_table(other / "plans/crawl/00000.parquet").to_pylist())


def test_a_whole_host_is_taken_down(root, site):
    needles = needles_of(root, "astronaut.jpg")
    result = take_down(root, request(host="localhost"), **SIGNED)
    assert result["stored_images"] == 1
    assert traces(root, [*needles, "//localhost"]) == {}
    assert_green(root)
    assert_at_rest(root, site)


def test_every_image_can_be_taken_down(root, site):
    result = take_down(root, read_request({"host": ["127.0.0.1", "localhost"]}, 0), **SIGNED)
    assert result["stored_images"] == 9
    assert members(root) == {}
    assert not list(root.glob("shards/*"))
    assert_green(root)
    assert_at_rest(root, site)


def test_rows_that_hold_no_image_are_emptied_too(root, site):
    result = take_down(root, request(url=site.url("gone.jpg")), **SIGNED)
    assert (result["images"], result["stored_images"], result["samples"]) == (1, 0, 0)
    assert traces(root, [site.url("gone.jpg")]) == {}
    assert_green(root)
    assert_at_rest(root, site)


def test_what_is_planned_and_not_fetched_yet_is_never_fetched(site, tmp_path):
    root = tmp_path / "data"
    execute(site.stages()[0], Dataset.create(root, "taken"), replace(INLINE, limit=1))
    assert not (root / "images/00002.tar").exists()
    take_down(root, request(url=site.url("motorcycle.jpg")), **SIGNED)
    assert traces(root, [site.url("motorcycle.jpg")]) == {}
    assert execute(site.stages()[0], Dataset.open(root), INLINE)[0].ran == 2
    row = Dataset.open(root).images().to_pylist()[8]
    assert (row["reason"], row["url"]) == ("taken_down", "")
    assert_green(root)


def test_a_stage_that_was_not_run_yet_goes_on_from_what_is_left(root, site):
    """Plans on record keep up with places that moved: partitions still to do read the right images."""
    dataset = Dataset.open(root)
    for folder in ("shards", *(f"{kind}/{stage.name}" for kind in ("plans", "commits") for stage in site.stages()[4])):
        shutil.rmtree(root / folder)
    execute(site.stages()[4], dataset, replace(INLINE, limit=1))
    take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    for summary in execute(site.stages()[4], dataset, INLINE):
        assert summary.failed == {}
    assert url_uid(site.url(COFFEE)) not in {uid for sample, _ in dataset.samples() for uid in sample.source.uids}
    assert_green(root)
    assert_at_rest(root, site)


@pytest.mark.slow
def test_sigkill_at_any_moment_and_again_gives_the_same_bytes(root, site, tmp_path):
    asked = read_request({"url": [site.url(COFFEE)], "key": ["00002-00001"]}, 0)
    wanted = tmp_path / "wanted"
    shutil.copytree(root, wanted)
    started = time.monotonic()
    take_down(wanted, asked, **SIGNED)
    seconds = time.monotonic() - started
    killed_halfway = 0
    for attempt in range(6):
        copy = tmp_path / f"killed-{attempt}"
        shutil.copytree(root, copy)
        options = ["--url", site.url(COFFEE), "--key", "00002-00001", "--by", "Ada", "--reason", SIGNED["reason"]]
        process = ForkedCommand(["x2i", "takedown", copy, *options])
        deadline = time.monotonic() + 60
        while not list(copy.glob("takedowns/*.pending")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(attempt * seconds / 8)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if list(copy.glob("takedowns/*.pending")):
            killed_halfway += 1
            assert any("not finished" in finding.problem for finding in verify(copy).findings)
            with pytest.raises(UserError, match="was begun and not finished"):
                execute([AnnotateStage(Quality())], Dataset.open(copy), INLINE)
            assert take_down(copy, Request(), by="", reason="")["finished"] == ["00001"]
        assert without_records(file_sums(copy)) == without_records(file_sums(wanted))
        assert [path.name for path in copy.glob("takedowns/*")] == ["00001.json"]
    assert killed_halfway >= 3


def without_records(sums: dict[str, str]) -> dict[str, str]:
    """Records carry the time at which they were signed."""
    return {name: digest for name, digest in sums.items() if not name.startswith("takedowns/")}


def test_nothing_found_changes_nothing_and_says_so(root):
    before = file_sums(root)
    asked = ["x2i", "takedown", root, "--url", "http://elsewhere.example/a.jpg", "--by", "Ada", "--reason", "x"]
    result = run_forked(asked)
    assert result.returncode == 1
    assert "nothing of this is in the dataset" in result.stdout
    assert file_sums(root) == before
    assert run_forked(asked, "--keep-out").returncode == 0
    assert url_uid("http://elsewhere.example/a.jpg") in Tombstones.load(root).uids
    assert b"elsewhere" not in (root / "takedowns/00001.json").read_bytes()


@pytest.mark.parametrize("mark", ["@", ""])
def test_a_dry_run_tells_all_and_changes_nothing(root, site, tmp_path, mark):
    (tmp_path / "list.txt").write_text(f"# asked for in May\nurl {site.url(COFFEE)}\nkey 00002-00000\n")
    (tmp_path / "uids.txt").write_text(url_uid(site.url("grass.jpg")) + "\n")
    before = file_sums(root)
    asked = [
        "x2i",
        "takedown",
        root,
        "--from",
        tmp_path / "list.txt",
        "--uid",
        f"{mark}{tmp_path}/uids.txt",
        "--dry-run",
        "--json",
    ]
    result = run_forked(asked)
    told: dict[str, Any] = json.loads(result.stdout)
    assert told["keys"] == ["00000-00001", "00001-00002", "00002-00000"]
    assert told["stored_images"] == 3
    assert told["samples"] == sum(told["shards"].values()) > 6
    assert file_sums(root) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what to take down"),
        (["--url", "http://x/"], "--by and --reason"),
        (["--sha256", "abc", "--by", "A", "--reason", "r"], "expected 64 hex digits or a picture, found 'abc'"),
        (["--host", "http://x/", "--by", "A", "--reason", "r"], "without scheme"),
        (["--from", "nowhere.txt"], "nowhere.txt: cannot be read"),
    ],
)
def test_mistakes_are_named(whole, arguments, words):
    result = run_forked(["x2i", "takedown", whole, *arguments])
    assert result.returncode == 2
    assert words in result.stderr


def test_it_waits_for_no_stage_and_no_stage_runs_beside_it(root, site):
    with shared_lock(root), pytest.raises(UserError, match="another x2i command is running"):
        take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    assert not (root / "takedowns").exists()


def test_drawings_go_and_what_else_lies_there_is_named(root, site):
    (root / "gallery/images").mkdir(parents=True)
    for name in ("gallery/index.html", "gallery/images/a.jpg", "sheet.png", "my-slides.pdf"):
        (root / name).write_bytes(b"it shows the cup")
    (root / "images" / "00000.tar.tmp-1-ab").write_bytes(b"half of the cup")
    result = take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    assert result["deleted_previews"] == ["gallery", "sheet.png"]
    assert result["may_still_show"] == ["my-slides.pdf"]
    assert not list(root.rglob("*.tmp-*"))


def test_what_was_encoded_of_a_shard_that_changes_goes_and_the_rest_stays(root, whole, site):
    taken = take_down(root, request(url=site.url(COFFEE)), dry_run=True, **SIGNED)["shards"]
    names = [path.stem for path in (root / "shards").glob("*.tar")]
    for name, suffix in itertools.product(names, (".safetensors", ".parquet", ".json")):
        file = root / "encoded" / "latents-dct-0123-256" / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"it looks like the cup")
    result = take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    left = {path.stem for path in (root / "encoded").rglob("*") if path.is_file()}
    assert taken
    assert left == set(names) - set(taken)
    assert result["may_still_show"] == []


def test_counts_still_add_up_to_what_was_planned(root, site):
    before = {(c.stage, c.partition): c.counts.total for s in list_stages(root) for c in list_commits(root, s)}
    take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    after = {(c.stage, c.partition): c.counts for s in list_stages(root) for c in list_commits(root, s)}
    assert {name: counts.total for name, counts in after.items()} == before
    assert all(min([c.ok, *c.filtered.values()]) >= 0 for c in after.values())
    assert after[("crawl", "00000")].filtered == {"taken_down": 1}
    assert after[("duplicates", "00000")].filtered["taken_down"] == 1
    assert after[("captions", "00000")].filtered["taken_down"] == 1


def test_a_stored_image_that_was_taken_down_is_found_by_verify(root, whole, site):
    take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    for folder in ("images", "shards", "commits"):
        shutil.rmtree(root / folder)
        shutil.copytree(whole / folder, root / folder)
    files = {finding.file for finding in verify(root).findings if "was taken down" in finding.problem}
    assert "images/00000.parquet" in files
    assert any(file.startswith("shards/") for file in files)


def test_phash_finds_what_looks_alike_within_the_distance(root):
    small = Dataset.open(root).images().to_pylist()[0]["phash"]
    asked = {"phash": [f"{small ^ 0b111:016x}"]}
    found = [take_down(root, read_request(asked, bits), by="", reason="", dry_run=True) for bits in (0, 2, 3, 9)]
    assert [len(result["keys"]) for result in found][:2] == [0, 0]
    assert [len(result["keys"]) >= least for result, least in zip(found[2:], (1, 3), strict=True)] == [True, True]


def crawl_again(root: Path, site: Site, *sources: str) -> None:
    crawl = replace(site.crawl, sources=sources)
    dataset = Dataset.create(root, "taken")
    for stage in crawl_runs(dataset, crawl):
        assert execute([stage], dataset, INLINE)[0].failed == {}


def test_what_other_sources_say_of_it_goes_and_stays_away(site, tmp_path):
    root = tmp_path / "data"
    tables = [
        url_table(tmp_path / f"{n}.csv", [site.url(COFFEE), site.url("grass.jpg")], [f"the {word} words", f"grass {n}"])
        for n, word in enumerate(("first", "second", "third"))
    ]
    crawl_again(root, site, tables[0])
    crawl_again(root, site, tables[1])
    assert len(traces(root, ["the second words"])) == 1
    take_down(root, request(url=site.url(COFFEE)), **SIGNED)
    crawl_again(root, site, tables[2])
    crawl_again(root, site, tables[1])
    assert traces(root, ["the first words", "the second words", "the third words", site.url(COFFEE)]) == {}
    assert len(traces(root, ["grass 1"])) == 1
    assert [row["status"] for row in Dataset.open(root).images().to_pylist()] == ["filtered", "ok"]
    assert_green(root)


def test_a_file_of_a_folder_does_not_come_back_with_the_next_crawl(site, tmp_path):
    root, folder = tmp_path / "data", tmp_path / "photos"
    folder.mkdir()
    for name in (COFFEE, "grass.jpg"):
        shutil.copy(site.folder / name, folder / name)
    crawl_again(root, site, str(folder))
    take_down(root, request(key="00000-00000"), **SIGNED)
    shutil.copy(site.folder / "rocket.jpg", folder / "rocket.jpg")
    crawl_again(root, site, str(folder))
    stored = [Path(row["url"]).name for row in Dataset.open(root).images().to_pylist() if row["status"] == "ok"]
    assert stored == ["grass.jpg", "rocket.jpg"]
    assert_green(root)


@pytest.mark.slow
def test_on_an_object_store_the_same_bytes_are_left(whole, site, bucket, tmp_path):  # noqa: F811
    import s3fs

    files = s3fs.S3FileSystem(use_listings_cache=False)
    files.put(f"{whole}/", f"{bucket}/data/", recursive=True)
    root = dataset_path(f"{bucket}/data")
    asked = request(url=site.url(COFFEE))
    assert take_down(root, asked, **SIGNED)["stored_images"] == 1
    assert verify(root).ok
    files.get(f"{bucket}/data/", f"{tmp_path}/fetched/", recursive=True)
    shutil.copytree(whole, tmp_path / "here")
    take_down(tmp_path / "here", asked, **SIGNED)
    assert without_records(file_sums(tmp_path / "fetched")) == without_records(file_sums(tmp_path / "here"))


def test_imported_samples_are_taken_down_by_bytes_and_stay_away(site, tmp_path):
    lines = [
        {"task_type": "text_to_image", "instruction": f"draw {name}", "input_images": [], "output_image": name}
        for name in (COFFEE, "grass.jpg")
    ]
    (tmp_path / "x2i.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stage = ImportShards(X2IJsonl(images=str(site.folder)), str(tmp_path / "x2i.jsonl"))
    root, other = tmp_path / "data", tmp_path / "other"
    assert execute([stage], Dataset.create(root, "data"), INLINE)[0].counts.ok == 2
    result = take_down(root, request(sha256=str(site.folder / COFFEE)), **SIGNED)
    assert (result["images"], result["samples"]) == (0, 1)
    assert traces(root, [f"draw {COFFEE}", (site.folder / COFFEE).read_bytes()]) == {}
    again = execute([stage], Dataset.open(root), INLINE)[0]
    assert (again.ran, again.counts.ok, dict(again.counts.filtered)) == (0, 1, {"taken_down": 1})
    assert_green(root)
    shutil.copytree(root / "takedowns", other / "takedowns")
    fresh = execute([stage], Dataset.create(other, "data"), INLINE)[0]
    assert (fresh.counts.ok, dict(fresh.counts.filtered), dict(fresh.counts.failed)) == (1, {"taken_down": 1}, {})
    assert_green(other)
