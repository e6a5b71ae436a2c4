"""Which shards a run reads: the tars of dataset folders, folders of shards or single tars, local or on a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from x2i.errors import UserError
from x2i.store.file_cache import StoredFile
from x2i.store.paths import DATASET_FILE, INDEX_SUFFIX, SHARD_SUFFIX
from x2i.store.remote import dataset_path, file_versions, is_remote
from x2i.store.shards import Shard


@dataclass(frozen=True)
class FoundShard:
    """A shard as its folder lists it. index: None for a foreign shard, whose index must be made."""

    tar: StoredFile
    index: StoredFile | None

    @property
    def shard(self) -> Shard:
        return Shard(self.tar.path)

    @property
    def is_remote(self) -> bool:
        return is_remote(self.tar.path)


def find_shard_set(paths: Sequence[str | Path]) -> list[FoundShard]:
    """Returns the shards under every path (a dataset folder, a folder of shards, or one .tar), in order of their names.

    A shard without an index is foreign if its folder holds no index at all and belongs to no dataset of ours.
    Raises UserError for a path without shards, a shard given twice, a tar or an index that is missing.
    """
    if not paths:
        raise UserError("data.shards: none given; expected at least one dataset folder")
    found = [shard for path in paths for shard in _shards_under(dataset_path(path))]
    seen: set[str] = set()
    for shard in found:
        name = _identity(shard.tar.path)
        if name in seen:
            raise UserError(f"data.shards: {shard.tar.path} is listed twice")
        seen.add(name)
    return found


def _shards_under(path: Path) -> Iterator[FoundShard]:
    if path.suffix == SHARD_SUFFIX and not path.is_dir():
        folder, wanted = path.parent, {path.name}
    else:
        if not is_remote(path) and not path.is_dir():
            raise UserError(f"data.shards: {path}: no such folder; give a dataset folder or a folder of shards")
        folder, wanted = (path / "shards" if (path / "shards").is_dir() else path), None
    files = {name: StoredFile(folder / name, *state) for name, state in file_versions(folder).items()}
    tars = {name for name in files if name.endswith(SHARD_SUFFIX) and (wanted is None or name in wanted)}
    if not tars:
        what = "no such file" if wanted else f"no training shards (*{SHARD_SUFFIX}) in it or in its folder shards/"
        raise UserError(f"data.shards: {path}: {what}")
    indexed = {name.removesuffix(INDEX_SUFFIX) for name in files if name.endswith(INDEX_SUFFIX)}
    for name in sorted(indexed) if wanted is None else ():
        if name + SHARD_SUFFIX not in tars:
            raise UserError(
                f"{folder / (name + SHARD_SUFFIX)}: missing, though its index {name + INDEX_SUFFIX} is there: copy it "
                f"again, or delete the index to do without the shard"
            )
    foreign = not indexed and not (folder.parent / DATASET_FILE).exists()
    for name in sorted(tars):
        index = name.removesuffix(SHARD_SUFFIX) + INDEX_SUFFIX
        if index not in files and not foreign:
            raise UserError(
                f"{folder / index}: missing: {name} has no index; the shard was not finished. Run the command that "
                f"made it again, or move the tar away"
            )
        yield FoundShard(files[name], files.get(index))


def _identity(path: Path) -> str:
    return str(path) if is_remote(path) else str(path.resolve())
