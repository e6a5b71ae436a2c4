"""A build from real pages over real HTTP: any number of workers, killed anywhere, always the same bytes."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.demo.photographs import PHOTOGRAPHS
from pipelines.demo.server import serve_site, site_address
from pipelines.demo.site import write_site
from pipelines.manifest import load_manifest
from pipelines.stages.materialize import manifest_stages
from tests.pipelines.engine.test_engine import file_sums
from tests.support import REPOSITORY
from tests.support.command_line import typed
from tests.support.forked import ForkedCommand, run_forked
from tests.support.killing import worker_processes
from x2i.errors import UserError
from x2i.store import Dataset
from x2i.store.verify.verify import verify

ORIGINALS = {photograph.stem for photograph in PHOTOGRAPHS}
MANIFEST = """
name: test
steps:
  - crawl: {{sources: [{address}/things.html, {address}/animals.html, {address}/details.html, {address}/troubles.html],
            allow_net: [127.0.0.0/8], max_side: 320, min_side: 64, partition_size: 12, delay: 0.0}}
  - filter: {{}}
  - dedup: {{}}
  - caption: {{}}
  - detect: {{}}
  - embed: {{}}
  - subjects: {{}}
  - materialize:
      max_side: 160
      shard_size: 8
      select: {{unique: NOT duplicates.is_duplicate}}
      recipes:
        text_to_image: {{}}
        subject_pair: {{max_samples: 12}}
        canny_to_image: {{max_samples: 12}}
        deblur: {{}}
        few_shot: {{max_samples: 6}}
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Iterator[Path]:
    """A manifest whose sources are the demo's pages, served while the tests of this module run."""
    folder = tmp_path_factory.mktemp("site")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    write_site(folder, site_address(port))
    path = folder / "manifest.yaml"
    path.write_text(MANIFEST.format(address=site_address(port)))
    with serve_site(folder, port):
        yield path


def build_command(manifest: Path, out: Path, *options: str) -> list[str]:
    return ["x2i", "build", str(manifest), "--out", str(out), *options]


def build(manifest: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_forked(build_command(manifest, out, *options), timeout=600)


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory) -> Path:
    """The dataset of an uninterrupted build in one process."""
    out = tmp_path_factory.mktemp("whole") / "data"
    result = build(manifest, out, "--executor", "inline")
    assert result.returncode == 0, result.stderr
    assert "leaked" not in result.stderr  # DuckDB's bindings say so of a process that does not tidy up
    return out


@pytest.mark.slow
def test_a_build_makes_what_its_manifest_says(whole):
    dataset = Dataset.open(whole)
    assert {sample.task for sample, _ in dataset.samples()} == {
        "text_to_image",
        "subject_pair",
        "canny_to_image",
        "deblur",
        "few_shot",
    }
    by_url = {row["url"].split("/photos/")[-1]: row for row in dataset.images().to_pylist()}
    reasons = {name: row["reason"] for name, row in by_url.items() if row["reason"]}
    assert reasons["gone.jpg"] == "http_client_error"
    assert reasons["truncated.jpg"] == "image_truncated"
    assert reasons["not-a-photo.jpg"] == "not_an_image"
    assert reasons["icon.jpg"] == "too_small"
    assert reasons["opted-out.jpg"] == "opt_out"
    assert reasons["elsewhere.jpg"] == "blocked_address"
    assert verify(whole).ok


@pytest.mark.slow
def test_pairs_are_true_and_a_stereo_pair_is_neither_pair_nor_duplicate(whole):
    dataset = Dataset.open(whole)
    name_of = {row["key"]: Path(row["url"]).stem for row in dataset.images(["key", "url"]).to_pylist()}
    pairs = [(name_of[p["inputs"][0]], name_of[p["target"]]) for p in dataset.relation("subject_pairs").to_pylist()]
    assert len(pairs) >= 5
    for a, b in pairs:
        thing_a, thing_b = (name.split("-detail")[0].removesuffix("_left").removesuffix("_right") for name in (a, b))
        assert thing_a == thing_b, (a, b)
    assert ("motorcycle_left", "motorcycle_right") not in pairs
    duplicates = {name_of[d["key"]] for d in dataset.relation("duplicates").to_pylist() if d["is_duplicate"]}
    assert not duplicates & {"motorcycle_left", "motorcycle_right"}
    assert duplicates & {"coffee", "copy-of-coffee"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_number_of_workers_changes_no_byte(manifest, whole, tmp_path):
    assert build(manifest, tmp_path / "data", "--workers", "2").returncode == 0
    assert file_sums(tmp_path / "data") == file_sums(whole)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_changes_no_byte(manifest, whole, tmp_path):
    result = build(manifest, tmp_path / "data", "--executor", "ray", "--workers", "2")
    assert result.returncode == 0, result.stderr
    assert file_sums(tmp_path / "data") == file_sums(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigkill_at_any_moment_then_the_same_command_gives_the_same_bytes(manifest, whole, tmp_path):
    wanted = file_sums(whole)
    last = len(list(whole.glob("commits/*/*.json")))
    rng = random.Random(2)
    for target in (0, 9, last - 4):
        out = tmp_path / f"killed-after-{target}"
        process = ForkedCommand(build_command(manifest, out, "--executor", "inline"))
        wait_for_commits(out, target, process)
        time.sleep(rng.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert file_sums(out) != wanted, "it was finished before it was killed"
        assert build(manifest, out, "--executor", "inline").returncode == 0
        assert file_sums(out) == wanted


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sigkill_of_a_worker_and_then_of_the_driver_changes_no_byte(manifest, whole, tmp_path):
    out = tmp_path / "data"
    process = ForkedCommand(build_command(manifest, out, "--workers", "2"))
    wait_for_commits(out, 4, process)
    workers = worker_processes(process.pid)
    for pid in workers[:1]:
        os.kill(pid, signal.SIGKILL)
    wait_for_commits(out, 9, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers, "no worker was found to kill"
    result = build(manifest, out, "--workers", "2")
    if result.returncode == 1:  # the killed worker's partition may have used up its tries: the same command continues
        result = build(manifest, out, "--workers", "2")
    assert result.returncode == 0, result.stderr
    assert file_sums(out) == file_sums(whole)


def wait_for_commits(out: Path, count: int, process: ForkedCommand) -> None:
    """Waits until `count` partitions are committed, or, for 0, until anything at all was written."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if out.exists() and len(list(out.glob("commits/*/*.json"))) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{count} commits never came; the build ended with {process.poll()}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_manifest_makes_150_samples_of_ten_tasks_from_15_photographs(manifest, tmp_path):
    address = manifest.read_text().split("sources: [")[1].split("/things.html")[0]
    overrides = [f"crawl.sources=[{address}/index.html, {manifest.parent}/urls.csv]", "inspect.gallery=false"]
    overrides += ["materialize.max_side=96"]  # the same work on fewer pixels
    options = [part for override in overrides for part in ("--set", override)]
    result = build(
        REPOSITORY / "manifests/demo.yaml", tmp_path / "data", "--executor", "inline", "--no-train", *options
    )
    assert result.returncode == 0, result.stderr
    dataset = Dataset.open(tmp_path / "data")
    samples = [sample for sample, _ in dataset.samples()]
    originals = {row["uid"] for row in dataset.images().to_pylist() if Path(row["url"]).stem in ORIGINALS}
    used = {uid for sample in samples for uid in sample.source.uids} & originals
    assert len(samples) >= 150
    assert len({sample.task for sample in samples}) >= 10
    assert len(used) >= 15
    assert (tmp_path / "data/sheet.png").exists()
    assert (tmp_path / "data/report.html").exists()


def test_a_manifest_with_mistakes_runs_nothing_and_names_them_all(tmp_path):
    path = tmp_path / "bad.yaml"
    steps = "- crawl: {sources: [a], max_sied: 3}\n- dedup: {max_distance: many}\n- materialise: {}\n"
    path.write_text(f"name: x\nsteps:\n{steps}")
    result = build(path, tmp_path / "data")
    assert result.returncode == 2
    for part in (
        "bad.yaml",
        "steps.0.crawl: max_sied",
        "'max_side'",
        "steps.1.dedup",
        "'many'",
        "did you mean 'materialize'",
    ):
        assert part in result.stderr
    assert not (tmp_path / "data").exists()


def test_an_unknown_recipe_is_named_with_the_nearest(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\nsteps: [{materialize: {recipes: {deblurr: {}}}}]\n")
    result = build(path, tmp_path / "data")
    assert result.returncode == 2
    assert "materialize.recipes.deblurr" in result.stderr
    assert "'deblur'" in result.stderr


def test_a_misspelled_key_beside_the_options_of_a_recipe_is_named_with_the_nearest():
    with pytest.raises(UserError, match="deblur: max_sample: unknown key: did you mean 'max_samples'"):
        manifest_stages({"recipes": {"deblur": {"max_sample": 3}}}, "materialize")


def test_a_build_says_where_its_pictures_are(tmp_path, capsys):
    path = tmp_path / "m.yaml"
    steps = "[{crawl: {sources: ['scenes:2?size=64']}}, {materialize: {recipes: {deblur: {}}}}]"
    path.write_text(f"name: x\nsteps: {steps}\ninspect: {{gallery: false}}\n")
    assert typed("build", path, "--out", tmp_path / "data", "--executor", "inline") == 0
    drawn = [tmp_path / "data/sheet.png", tmp_path / "data/report.html"]
    assert f"to look at: {drawn[0]}, {drawn[1]}" in capsys.readouterr().err
    assert all(file.is_file() for file in drawn)


def test_two_captioners_stand_side_by_side_and_the_order_follows_from_what_steps_read(tmp_path):
    from pipelines.manifest import load_manifest

    path = tmp_path / "two.yaml"
    path.write_text("""
name: two
steps:
  - image_text: {text: captions_two, model: "open_clip:ViT-B-32/openai"}
  - caption: {column: captions_two}
  - caption: {}
  - subjects: {}
  - embed: {}
  - dedup: {}
  - materialize: {recipes: {denoise: {}}}
  - crawl: {sources: [a]}
""")
    manifest = load_manifest(path, ["captions_two.set={}", "caption.model=alt-text", "crawl.partition_size=7"])
    groups = [[stage.name for stage in group] for group in manifest.stage_groups()]
    assert groups == [
        ["crawl"],
        ["captions_two", "captions", "embeddings", "duplicates", "materialize-denoise"],
        ["image_text", "subject_pairs"],
    ]
    assert manifest.stages[-1].partition_size == 7


def test_two_steps_that_make_one_column_are_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("name: x\nsteps: [{caption: {}}, {caption: {}}]\n")
    result = build(path, tmp_path / "data")
    assert result.returncode == 2
    assert "two steps make 'captions'" in result.stderr


def test_a_manifest_may_name_a_training_configuration_that_comes_along(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nsteps: [{filter: {}}]\ntrain: {config: tiny}\n")
    found = load_manifest(path, []).train.config
    assert found.read_bytes() == (REPOSITORY / "manifests/train/tiny.yaml").read_bytes()
    with pytest.raises(UserError, match=r"mine.yaml: train.config: .*did you mean 'tiny'"):
        load_manifest(path, ["train.config=tinny"])
