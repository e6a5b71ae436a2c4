"""Datasets on an object store: every command takes s3://..., and leaves the bytes it leaves in a folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.forked import run_forked
from tests.support.photographs import photograph
from tests.support.s3 import bucket  # noqa: F401  a fixture
from x2i.image import encode
from x2i.store import Dataset
from x2i.store.files import cache
from x2i.store.files.cache import CACHE_FOLDER, CACHE_GIGABYTES, local_copy
from x2i.store.files.remote import dataset_path

STAGES = (
    ("crawl", "SOURCE", "--out", "ROOT", "--max-side", "256", "--partition-size", "2"),
    ("filter", "ROOT"),
    ("dedup", "ROOT"),
    ("caption", "ROOT"),
    ("materialize", "ROOT", "--recipe", "canny_to_image", "--recipe", "deblur", "--recipe", "text_to_image"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    files = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "cat.png")
    for name, file in ((Path(file).stem, file) for file in files):
        (folder / f"{name}.jpg").write_bytes(encode(photograph("chelsea.png" if name == "cat" else file)))
        (folder / f"{name}.txt").write_text(f"a picture of the {name}, taken for a test")
    return folder


def x2i(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked(["x2i", *arguments])


def build(photos: Path, root: str, *options: str) -> None:
    for stage in STAGES:
        command = [{"SOURCE": str(photos), "ROOT": root}.get(part, part) for part in stage]
        result = x2i(*command, *options)
        assert result.returncode == 0, result.stderr


def sums(root: Path) -> dict[str, str]:
    """The sha256 of every file that is data: not of logs, locks and the name of the dataset."""
    files = [path for path in root.rglob("*") if path.is_file()]
    named = {path.relative_to(root).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(named.items())
        if not name.startswith(("logs", "locks", "failures", "dataset.json"))
    }


@pytest.fixture(scope="module")
def local(photos, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("local") / "data"
    build(photos, str(root), "--executor", "inline")
    return root


@pytest.mark.slow
def test_a_dataset_on_a_store_has_the_bytes_of_one_in_a_folder(photos, local, bucket):  # noqa: F811
    root = f"{bucket}/inline"
    build(photos, root, "--executor", "inline")
    remote = dataset_path(root)
    assert sums(remote) == sums(local)
    samples = [sample.key for sample, _ in Dataset.open(root).samples()]
    assert samples == [sample.key for sample, _ in Dataset.open(local).samples()]
    assert len(samples) >= 10
    again = x2i("filter", root, "--executor", "inline", "--json")
    assert '"ran": 0' in again.stdout
    assert x2i("verify", root).returncode == 0
    assert x2i("report", root).returncode == 0
    assert x2i("inspect", root, "--sheet", str(photos.parent / f"{photos.name}.png")).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_workers_write_to_the_store_themselves(photos, local, bucket):  # noqa: F811
    root = f"{bucket}/ray"
    for stage in STAGES[:2]:
        command = [{"SOURCE": str(photos), "ROOT": root}.get(part, part) for part in stage]
        result = x2i(*command, "--workers", "2")
        assert result.returncode == 0, result.stderr
    wanted = {
        name: value for name, value in sums(local).items() if name.split("/")[1] in ("crawl", "filter", "quality")
    }
    found = sums(dataset_path(root))
    assert wanted
    assert {name: found.get(name) for name in wanted} == wanted


def test_verify_names_a_damaged_file_on_the_store(photos, bucket):  # noqa: F811
    root = f"{bucket}/damaged"
    command = ("crawl", str(photos), "--out", root, "--max-side", "64", "--executor", "inline")
    assert x2i(*command).returncode == 0
    tar = dataset_path(root) / "images" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:-2000])
    result = x2i("verify", root)
    assert result.returncode == 1
    assert "images/00000.tar" in result.stdout + result.stderr


def test_the_cache_keeps_within_its_bound_and_never_serves_an_old_version(bucket, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv(CACHE_FOLDER, str(tmp_path))
    monkeypatch.setenv(CACHE_GIGABYTES, "0.00001")
    monkeypatch.setattr(cache, "PROMISED_SECONDS", 0.0)
    files = [dataset_path(f"{bucket}/cache/{number}.bin") for number in range(5)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * 4000)
        assert local_copy(file).read_bytes() == bytes([number]) * 4000
    assert sum(entry.stat().st_size for entry in tmp_path.iterdir() if entry.is_file()) <= 10_000
    files[4].write_bytes(b"changed")
    assert local_copy(files[4]).read_bytes() == b"changed"


def test_a_copy_just_returned_stays_even_where_the_cache_is_full(bucket, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv(CACHE_FOLDER, str(tmp_path))
    monkeypatch.setenv(CACHE_GIGABYTES, "0.00001")
    files = [dataset_path(f"{bucket}/promised/{number}.bin") for number in range(5)]
    for file in files:
        file.write_bytes(bytes(4000))
    copies = [local_copy(file) for file in files]
    assert all(copy.exists() for copy in copies)


def test_a_store_that_nobody_knows_is_refused_in_words():
    result = x2i("filter", "nowhere://bucket/data")
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_url_of_a_local_file_is_that_file(tmp_path):
    assert dataset_path(f"file://{tmp_path}/data") == tmp_path / "data"
    shutil.rmtree(tmp_path)
