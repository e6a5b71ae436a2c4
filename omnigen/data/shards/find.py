"""Which shards a run reads: the tars of dataset folders, folders of shards or single tars, local or on a store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from x2i.errors import UserError
from x2i.store.files.cache import StoredFile
from x2i.store.files.remote import dataset_path, file_version, file_versions, is_remote
from x2i.store.paths import DATASET_FILE, INDEX_SUFFIX, SHARD_SUFFIX
from x2i.store.shards import Shard

ASKED_AT_A_TIME = 32  # paths on a store: asking is waiting


@dataclass(frozen=True)
class FoundShard:
    """A shard as its folder lists it. index: None for a shard of another maker, whose index must be made."""

    tar: StoredFile
    index: StoredFile | None

    @property
    def shard(self) -> Shard:
        return Shard(self.tar.path)

    @property
    def is_remote(self) -> bool:
        return is_remote(self.tar.path)


def find_training_shards(paths: Sequence[str | Path]) -> list[FoundShard]:
    """Returns the shards under every path (a dataset folder, a folder of shards, or one .tar), in order of their names.

    A path with numbers in braces, such as "https://host/{00000..00999}.tar", is one for each number. A shard without
    an index is taken if its folder, when listed, holds no index at all and belongs to no dataset of ours.
    Raises UserError for a path without shards, a shard given twice, a tar or an index that is missing.
    """
    if not paths:
        raise UserError("data.shards: none given; expected at least one dataset folder")
    given = [dataset_path(one) for path in paths for one in _numbered(str(path))]
    if any(map(is_remote, given)):
        with ThreadPoolExecutor(ASKED_AT_A_TIME) as pool:
            found = [shard for shards in pool.map(lambda path: list(_shards_under(path)), given) for shard in shards]
    else:
        found = [shard for path in given for shard in _shards_under(path)]
    seen: set[str] = set()
    for shard in found:
        name = _identity(shard.tar.path)
        if name in seen:
            raise UserError(f"data.shards: {shard.tar.path} is listed twice")
        seen.add(name)
    return found


def _numbered(path: str) -> Iterator[str]:
    """Yields the paths that one with {first..last} stands for, with as many digits as `first` has."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", path)
    if match is None:
        yield path
        return
    first, last = match.groups()
    if int(last) < int(first):
        raise UserError(f"data.shards: {path}: expected the smaller number first")
    for number in range(int(first), int(last) + 1):
        yield from _numbered(f"{path[: match.start()]}{number:0{len(first)}}{path[match.end() :]}")


def _shards_under(path: Path) -> Iterator[FoundShard]:
    if path.suffix == SHARD_SUFFIX and (is_remote(path) or not path.is_dir()):
        return _single_tar(path)
    if not is_remote(path) and not path.is_dir():
        raise UserError(f"data.shards: {path}: no such folder; give a dataset folder or a folder of shards")
    return _folder(path / "shards" if (path / "shards").is_dir() else path, path)


def _single_tar(tar: Path) -> Iterator[FoundShard]:
    """Asks for the tar and its index by name: not every store can list a folder."""
    index = tar.with_suffix(INDEX_SUFFIX)
    found, indexed = file_version(tar), file_version(index)
    if found is None:
        raise UserError(f"data.shards: {tar}: no such file")
    if indexed is None and _is_ours(tar.parent):
        raise _unfinished(tar)
    yield FoundShard(StoredFile(tar, *found), StoredFile(index, *indexed) if indexed else None)


def _folder(folder: Path, given: Path) -> Iterator[FoundShard]:
    files = {name: StoredFile(folder / name, *state) for name, state in file_versions(folder).items()}
    tars = {name for name in files if name.endswith(SHARD_SUFFIX)}
    indexed = {name.removesuffix(INDEX_SUFFIX) for name in files if name.endswith(INDEX_SUFFIX)}
    if not tars and not (indexed and _is_ours(folder)):
        raise UserError(
            f"data.shards: {given}: no training shards (*{SHARD_SUFFIX}) in it or in its folder shards/; give a "
            f"dataset folder or a folder of shards"
        )
    for name in sorted(indexed):
        if name + SHARD_SUFFIX not in tars:
            raise UserError(
                f"{folder / (name + SHARD_SUFFIX)}: missing, though its index {name + INDEX_SUFFIX} is there: copy it "
                f"again, or delete the index to do without the shard"
            )
    of_others = not indexed and not _is_ours(folder)
    for name in sorted(tars):
        index = files.get(name.removesuffix(SHARD_SUFFIX) + INDEX_SUFFIX)
        if index is None and not of_others:
            raise _unfinished(folder / name)
        yield FoundShard(files[name], index)


def _is_ours(folder: Path) -> bool:
    """Whether shards in `folder` belong to a dataset of ours, where every finished one has an index."""
    return (folder.parent / DATASET_FILE).exists()


def _unfinished(tar: Path) -> UserError:
    return UserError(
        f"{tar.with_suffix(INDEX_SUFFIX)}: missing: {tar.name} has no index; the shard was not finished. Run the "
        f"command that made it again, or move the tar away"
    )


def _identity(path: Path) -> str:
    return str(path) if is_remote(path) else str(path.resolve())
