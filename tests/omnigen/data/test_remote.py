"""Shards on an object store (a real S3 server) and on other fsspec stores train like shards in a folder."""

from __future__ import annotations

import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
import torch

from omnigen.data.loading.collate import load_pack
from omnigen.data.loading.loader import StepLoader
from omnigen.data.loading.sample import Dropout, DropoutRates, ImageReader, make_planned_sample
from omnigen.data.loading.shard_prefetch import ShardPrefetcher
from omnigen.data.order.packing import PackingState
from omnigen.data.order.sample_sequence import CatalogSequence
from omnigen.data.order.schedule import PackSchedule, ScheduleOptions
from omnigen.data.shards.catalog import Catalog
from omnigen.tokenizer import ByteTokenizer
from omnigen.train.config import load_config
from tests.support.s3 import bucket  # noqa: F401  a fixture
from tests.support.training_runs import train, write_config
from tests.support.training_shards import make_shards
from x2i.errors import UserError
from x2i.store.files.cache import FileCache
from x2i.store.shards import find_shards

TASKS = ("text_to_image", "colorize", "denoise", "few_shot")
SIDE, PLENTY = 48, 10**9


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("data"), TASKS, sizes=((64, 64), (64, 32)))


@pytest.fixture(scope="module")
def remote(local, bucket):  # noqa: F811
    url = f"{bucket}/dataset"
    store, root = fsspec.core.url_to_fs(url)
    for path in sorted((local / "shards").iterdir()):
        store.put_file(str(path), f"{root}/shards/{path.name}")
    return url


def load(catalog, steps=2, **options):
    rows = catalog.training_rows()
    schedule = PackSchedule(
        CatalogSequence(catalog, rows, dict.fromkeys(rows, 1.0), 1),
        ByteTokenizer(),
        ScheduleOptions(1, SIDE, 600, 3, DropoutRates(0.1, 0.1, 0.1)),
    )
    loaded = list(StepLoader(schedule, PackingState(), 0, steps, **options))
    return [
        [(s.planned.index, s.planned.ref.key, [*s.references, s.target]) for s in pack.samples]
        for step in loaded
        for pack in step.packs
    ]


def same(one, other):
    return len(one) == len(other) and all(
        len(a) == len(b) and all(x[:2] == y[:2] and all(map(torch.equal, x[2], y[2])) for x, y in zip(a, b))
        for a, b in zip(one, other)
    )


@pytest.mark.parametrize("cache_bytes", [0, 30_000, PLENTY], ids=["no cache", "a part", "all"])
def test_packs_from_a_store_are_the_packs_from_a_folder(local, remote, tmp_path, cache_bytes):
    cache = FileCache(tmp_path / "cache", cache_bytes) if cache_bytes else None
    here, there = Catalog.open([local], 0.2), Catalog.open([remote], 0.2, cache=cache)
    assert there.fingerprint() == here.fingerprint()
    assert same(load(there), load(here))
    if cache is not None:
        held = sum(path.stat().st_size for path in cache.folder.iterdir() if path.is_file())
        assert held <= cache_bytes


@pytest.mark.slow
def test_worker_processes_read_the_store_and_the_cache(local, remote, tmp_path):
    cache = FileCache(tmp_path / "cache", PLENTY)
    catalog = Catalog.open([remote], 0.2, cache=cache)
    expected = load(Catalog.open([local], 0.2))
    assert same(load(catalog, workers=2), expected)
    prefetcher = ShardPrefetcher(cache, catalog.to_keep)
    prefetcher.start()
    prefetcher.wait()
    assert all(cache.path_of(file).exists() for file in catalog.to_keep)
    assert same(load(catalog, workers=1), expected)


def test_once_the_cache_holds_the_shards_the_store_is_not_asked(local, remote, tmp_path, monkeypatch):
    cache = FileCache(tmp_path / "cache", PLENTY)
    catalog = Catalog.open([remote], 0.2, cache=cache)
    prefetcher = ShardPrefetcher(cache, catalog.to_keep)
    prefetcher.start()
    prefetcher.wait()
    monkeypatch.setattr("x2i.store.files.retry.ATTEMPTS", 1)
    monkeypatch.setattr(catalog.shards[0].tar.fs, "cat_ranges", None)  # of the instance: fsspec puts it there
    assert same(load(catalog), load(Catalog.open([local], 0.2)))


def test_a_pack_asks_once_and_for_each_sample_in_one_range(local, remote, monkeypatch):
    catalog, near = Catalog.open([remote]), Catalog.open([local])
    asked = []
    store = catalog.shards[0].tar.fs
    cat_ranges = store.cat_ranges

    def counted(paths, starts, ends, **options):
        asked.append(len(paths))
        return cat_ranges(paths, starts, ends, **options)

    monkeypatch.setattr(store, "cat_ranges", counted)
    firsts = [int(rows[0]) for rows in catalog.training_rows().values()]
    packs = [
        load_pack(
            [make_planned_sample(0, one.sample_ref(row), Dropout.NONE, SIDE, ByteTokenizer()) for row in firsts],
            ImageReader(SIDE),
        )
        for one in (catalog, near)
    ]
    assert asked == [len(firsts)]
    for sample, other in zip(*(pack.samples for pack in packs), strict=True):
        assert all(map(torch.equal, (*sample.references, sample.target), (*other.references, other.target)))


def test_a_shard_that_vanishes_from_the_store_is_named(remote, tmp_path, monkeypatch):
    monkeypatch.setattr("x2i.store.files.retry.FIRST_PAUSE", 0.01)
    store, root = fsspec.core.url_to_fs(remote)
    other = root.replace("dataset", "vanishing")
    for path in store.ls(f"{root}/shards", detail=False):
        store.cp_file(path, f"{other}/shards/{path.rpartition('/')[2]}")
    catalog = Catalog.open([f"s3://{other}"], 0.2)
    cached = Catalog.open([f"s3://{other}"], 0.2, cache=FileCache(tmp_path / "cache", PLENTY))
    for path in store.ls(f"{other}/shards", detail=False):
        if path.endswith(".tar"):
            store.rm_file(path)
    with pytest.raises(UserError, match=r"vanishing/shards/.*\.tar: could not be read"):
        load(catalog)
    prefetcher = ShardPrefetcher(cached.cache, cached.to_keep)
    prefetcher.start()
    with pytest.raises(UserError, match=r"\.tar: could not be fetched"):
        prefetcher.wait()


def test_a_shard_cut_short_on_the_store_is_refused_at_start(local):
    store = fsspec.filesystem("memory")
    for path in (local / "shards").iterdir():
        data = path.read_bytes()
        cut = data[: len(data) // 2] if path.name.startswith("denoise") and path.suffix == ".tar" else data
        store.pipe_file(f"/cut/{path.name}", cut)
    with pytest.raises(UserError, match=r"memory://.*denoise.*\.tar: .*truncated"):
        Catalog.open(["memory://cut"])
    store.rm("/cut", recursive=True)


def test_a_single_tar_of_a_web_server_trains_without_a_listing(local, tmp_path):
    handler = partial(RangeHandler, directory=local / "shards")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = [f"http://127.0.0.1:{server.server_port}/{shard.tar.name}" for shard in find_shards(local)]
        for cache in (None, FileCache(tmp_path / "cache", PLENTY)):
            assert same(load(Catalog.open(urls, 0.2, cache=cache)), load(Catalog.open([local], 0.2)))
        server.shutdown()


class RangeHandler(BaseHTTPRequestHandler):
    """Serves files as web servers do, ranges included, and lists no folder."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, directory):
        self.directory = directory
        super().__init__(*arguments)

    def log_message(self, *message):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.wfile.write(self.answer())

    def answer(self):
        path = self.directory / self.path.lstrip("/")
        data, status = (path.read_bytes(), 200) if path.is_file() else (b"", 404)
        headers = {"Accept-Ranges": "bytes"}
        if status == 200 and (wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))):
            start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            data, status = data[start:end], 206
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(data)}.items():
            self.send_header(name, value)
        self.end_headers()
        return data


def test_paths_in_a_configuration_may_be_urls(tmp_path):
    data = {"shards": ["s3://bucket/data", "near"], "cache_dir": "cache"}
    config = load_config(write_config(tmp_path / "c.yaml", tmp_path, data=data)).data
    assert config.shards == ("s3://bucket/data", str(tmp_path / "near"))
    assert config.cache_dir == str(tmp_path / "cache")


def test_a_store_without_shards_and_a_protocol_that_nobody_knows_are_named():
    with pytest.raises(UserError, match="no training shards"):
        Catalog.open(["memory://nothing/here"])
    with pytest.raises(UserError, match="gopher://x"):
        Catalog.open(["gopher://x/y"])


@pytest.mark.slow
def test_a_run_trained_from_a_store_is_the_run_trained_from_a_folder(local, remote, tmp_path):
    cache = {"cache_dir": str(tmp_path / "cache"), "cache_bytes": PLENTY}
    runs = {"folder": {}, "store": {"shards": [remote], "workers": 1, **cache}}
    for name, settings in runs.items():
        config = write_config(tmp_path / f"{name}.yaml", local, data=settings, train={"steps": 4})
        result = train(config, tmp_path / name)
        assert result.returncode == 0, result.stderr
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in runs]
    assert metrics[0] == metrics[1]
    assert list((tmp_path / "cache").glob("*.tar"))
