"""The cache of copies, on stores of fsspec whose failures are real and with processes that run side by side."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from upath import UPath

from x2i.errors import UserError
from x2i.store.files import ranges, retry
from x2i.store.files.cache import FileCache, StoredFile
from x2i.store.files.ranges import RangeReader, fetch_ranges, join_ranges, open_in_use


class FolderStore(LocalFileSystem):
    """A store of files in a folder, folderstore:///FOLDER/FILE, that writes down which file it gave."""

    protocol = "folderstore"

    @classmethod
    def _strip_protocol(cls, path):
        return os.fspath(path).partition("://")[2] or os.fspath(path)

    def get_file(self, rpath, lpath, **options):
        with open(Path(rpath).with_name("gets.log"), "a") as stream:
            stream.write(f"{Path(rpath).name}\n")
        time.sleep(0.2)
        super().get_file(rpath, lpath, **options)


class CutStore(FolderStore):
    """Gives files cut short, as often as CUTS says."""

    protocol = "cutstore"
    cuts = 0

    def get_file(self, rpath, lpath, **options):
        super().get_file(rpath, lpath, **options)
        if CutStore.cuts:
            CutStore.cuts -= 1
            os.truncate(lpath, os.path.getsize(lpath) - 1)


class RudeStore(FolderStore):
    """Fails at first, with an exception of its own."""

    protocol = "rudestore"
    failures = 0
    asked: ClassVar[list[int]] = []

    def cat_file(self, path, start=None, end=None, **options):
        RudeStore.asked.append(start)
        if RudeStore.failures:
            RudeStore.failures -= 1
            raise RuntimeError("connection reset by rude store")
        return super().cat_file(path, start=start, end=end, **options)


for store in (FolderStore, CutStore, RudeStore):
    fsspec.register_implementation(store.protocol, store, clobber=True)
pytestmark = pytest.mark.filterwarnings("ignore:UPath .* not explicitly implemented")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def stored(root, name, size=1000, protocol="folderstore"):
    (root / name).write_bytes(name.encode() * (size // len(name)) + bytes(size % len(name)))
    return StoredFile(UPath(f"{protocol}://{root / name}"), size, "1")


def gets(root):
    return (root / "gets.log").read_text().split()


def test_a_file_is_fetched_once_and_has_its_bytes(root, tmp_path):
    file, cache = stored(root, "a.tar"), FileCache(tmp_path / "cache", 10_000)
    copies = [cache.fetch(file) for _ in range(3)]
    assert copies[0].read_bytes() == (root / "a.tar").read_bytes()
    assert set(copies) == {cache.path_of(file)}
    assert gets(root) == ["a.tar"]


def fetch_in_process(folder, url, size):
    FileCache(Path(folder), 10_000).fetch(StoredFile(UPath(url), size, "1"))


def test_several_processes_fetch_a_file_once(root, tmp_path):
    file = stored(root, "a.tar")
    context = multiprocessing.get_context("spawn")
    arguments = (str(tmp_path / "cache"), str(file.path), file.size)
    started = [context.Process(target=fetch_in_process, args=arguments) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0, 0]
    assert gets(root) == ["a.tar"]


def test_the_longest_unused_copies_make_room_and_the_bound_holds(root, tmp_path):
    cache = FileCache(tmp_path / "cache", 2500)
    files = [stored(root, f"{number}.tar") for number in range(4)]
    for age, file in zip((300, 100), files):
        copy = cache.fetch(file)
        os.utime(copy, (time.time() - age,) * 2)
    cache.fetch(files[2])
    kept = [cache.path_of(file).exists() for file in files]
    assert kept == [False, True, True, False]
    assert sum(path.stat().st_size for path in cache.folder.glob("*.tar")) <= 2500


def test_what_is_being_read_is_not_deleted(root, tmp_path):
    cache = FileCache(tmp_path / "cache", 2500)
    files = [stored(root, f"{number}.tar") for number in range(3)]
    copies = [cache.fetch(file) for file in files[:2]]
    held = [open_in_use(copy) for copy in copies]
    assert cache.fetch(files[2]) is None
    assert all(copy.exists() for copy in copies)
    os.close(held[1])
    assert cache.fetch(files[2]) is not None
    assert [copy.exists() for copy in copies] == [True, False]
    os.close(held[0])


def test_a_file_larger_than_the_cache_is_not_fetched(root, tmp_path):
    assert FileCache(tmp_path / "cache", 999).fetch(stored(root, "a.tar")) is None
    assert not (root / "gets.log").exists()


def test_what_a_killed_process_left_is_cleared_and_takes_no_room(root, tmp_path):
    cache, file = FileCache(tmp_path / "cache", 1500), stored(root, "b.tar")
    cache.folder.mkdir()
    left = cache.folder / f"{'0' * 32}.1000.tar.part"
    left.write_bytes(bytes(700))
    assert cache.fetch(file) is not None
    assert not left.exists()


def test_a_download_cut_short_is_noticed_and_made_again(root, tmp_path):
    file, cache = stored(root, "a.tar", protocol="cutstore"), FileCache(tmp_path / "cache", 10_000)
    CutStore.cuts = 2
    assert cache.fetch(file).stat().st_size == 1000
    assert len(gets(root)) == 3


def test_a_download_that_stays_short_is_an_error_and_leaves_nothing(root, tmp_path):
    file, cache = stored(root, "a.tar", protocol="cutstore"), FileCache(tmp_path / "cache", 10_000)
    CutStore.cuts = 99
    with pytest.raises(UserError, match=r"a\.tar: could not be fetched, 4 attempts: 999 bytes arrived of 1000"):
        cache.fetch(file)
    CutStore.cuts = 0
    assert [path.name for path in cache.folder.iterdir()] == ["locks"]


def test_a_file_that_is_gone_is_an_error_at_once(root, tmp_path):
    with pytest.raises(UserError, match=r"gone\.tar: could not be fetched"):
        FileCache(tmp_path / "cache", 10_000).fetch(StoredFile(UPath(f"folderstore://{root / 'gone.tar'}"), 10))
    assert gets(root) == ["gone.tar"]


def test_ranges_come_from_the_store_until_the_copy_is_there(root, tmp_path):
    file, cache = stored(root, "a.tar"), FileCache(tmp_path / "cache", 10_000)
    with RangeReader({str(file.path): cache.path_of(file)}) as reader:
        assert reader.read(file.path, 5, 10) == (root / "a.tar").read_bytes()[5:15]
        copy = cache.fetch(file)
        copy.write_bytes(bytes(1000))
        assert reader.read(file.path, 5, 10) == bytes(10)


def test_a_failed_request_is_made_again_and_then_is_an_error(root):
    file = stored(root, "a.tar", size=3 * ranges.LARGEST_GAP, protocol="rudestore")
    starts = [0, ranges.LARGEST_GAP + 50, 2 * ranges.LARGEST_GAP + 100]
    wanted = [(file.path, start, 4) for start in starts]
    data = (root / "a.tar").read_bytes()
    RudeStore.failures, RudeStore.asked[:] = 2, []
    assert fetch_ranges(wanted) == {part: data[part[1] : part[1] + 4] for part in wanted}
    assert sorted(RudeStore.asked) == sorted([*starts, *RudeStore.asked[3:]])
    assert len(RudeStore.asked) == 5
    RudeStore.failures = 1000
    with pytest.raises(UserError, match=r"a\.tar: could not be read, 4 attempts: .*rude store"):
        fetch_ranges(wanted)
    RudeStore.failures = 1
    gone = UPath(f"rudestore://{root / 'gone.tar'}")
    with pytest.raises(UserError, match=r"gone\.tar: could not be read, 1 attempts: FileNotFoundError"):
        fetch_ranges([wanted[0], (gone, 0, 4)])
    RudeStore.failures = 0


def test_ranges_side_by_side_are_one_request(tmp_path):
    gap, one, two = ranges.LARGEST_GAP, tmp_path / "1.tar", tmp_path / "2.tar"
    first, second, third = (one, 512, 10), (one, 520, 24), (one, 544 + gap, 5)
    far, other = (one, 550 + 2 * gap, 7), (two, 40, 8)
    assert join_ranges([third, first, far, other, second]) == {
        (one, 512, 37 + gap): [first, second, third],
        far: [far],
        other: [other],
    }
    assert join_ranges([(one, 0, 100), (one, 10, 5)]) == {(one, 0, 100): [(one, 0, 100), (one, 10, 5)]}
    assert join_ranges([]) == {}


def test_a_request_does_not_grow_without_end(tmp_path):
    path, size = tmp_path / "1.tar", 2**20
    requests = join_ranges([(path, number * size, size) for number in range(64)])
    assert {count for _, _, count in requests} == {ranges.LARGEST_REQUEST}
    assert sum(map(len, requests.values())) == 64


def test_ranges_of_two_stores_are_asked_of_each(root):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/two-stores/b", b"in memory")
    parts = [(stored(root, "a").path, 3, 5), (UPath("memory://two-stores/b"), 3, 6)]
    for wanted in (parts, parts[::-1]):
        with RangeReader() as reader:
            reader.fetch_ahead(wanted)
            assert [reader.read(*part) for part in parts] == [b"aaaaa", b"memory"]
    memory.rm("/two-stores", recursive=True)


def test_a_file_that_cannot_be_opened_or_read_is_named(tmp_path):
    (tmp_path / "not-a-folder").touch()
    with RangeReader() as reader:
        with pytest.raises(UserError, match=r"a\.tar: cannot be opened: Not a directory"):
            reader.read(tmp_path / "not-a-folder" / "a.tar", 0, 1)
        with pytest.raises(UserError, match=r"cannot be read: Is a directory"):
            reader.read(tmp_path, 0, 1)


@pytest.mark.parametrize("remote", [False, True])
def test_ranges_read_together_are_the_ranges_read_one_by_one(root, remote):
    data = np.random.default_rng(0).bytes(300_000)
    path = stored(root, "a.tar").path if remote else root / "a.tar"
    (root / "a.tar").write_bytes(data)
    extents = [(0, 1), (1, 500), (700, 0), (900, 90_000), (99_000, 5), (250_000, 50_000), (4, 4)]
    with RangeReader() as reader:
        assert reader.read_all(path, extents) == [data[offset : offset + size] for offset, size in extents]
        assert reader.read_all(path, extents[::-1]) == [data[offset : offset + size] for offset, size in extents[::-1]]
        with pytest.raises(UserError, match=r"a\.tar: wanted 11 bytes at 299990, found 10"):
            reader.read_all(path, [(299_000, 10), (299_990, 11)])


def test_a_range_past_the_end_is_told(root, tmp_path):
    path = tmp_path / "short.tar"
    path.write_bytes(bytes(100))
    with RangeReader() as reader, pytest.raises(UserError, match=r"short\.tar: wanted 10 bytes at 95, found 5"):
        reader.read(path, 95, 10)
    with RangeReader() as reader, pytest.raises(UserError, match="not any more"):
        reader.read(tmp_path / "gone.tar", 0, 1)


def test_many_files_do_not_exhaust_the_descriptors(tmp_path):
    paths = [tmp_path / f"{number}.tar" for number in range(ranges.MOST_OPEN + 50)]
    for number, path in enumerate(paths):
        path.write_bytes(number.to_bytes(4, "little"))
    open_before = len(os.listdir("/proc/self/fd"))
    with RangeReader() as reader:
        for _ in range(2):
            assert [int.from_bytes(reader.read(path, 0, 4), "little") for path in paths] == list(range(len(paths)))
        assert len(os.listdir("/proc/self/fd")) - open_before <= ranges.MOST_OPEN + 1


def test_a_cache_folder_that_cannot_be_written_is_named(root, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file: the cache cannot be used"):
        FileCache(tmp_path / "file", 10_000).fetch(stored(root, "a.tar"))
