"""The facade: open a dataset folder and read its images, columns, relations and training shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError
from x2i.image_record import ImageRecord
from x2i.sample import Sample
from x2i.store import paths
from x2i.store.columns import read_relation
from x2i.store.commits import Commit, list_commits
from x2i.store.files.atomic import read_table, write_json
from x2i.store.files.remote import dataset_path, list_files
from x2i.store.files.tar import read_range
from x2i.store.images import IMAGE_SCHEMA, read_image_index, record_from_row
from x2i.store.shards import Shard, find_shards
from x2i.store.stages import ingest_stages


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk. Only committed partitions are seen; everything is read when asked for, nothing is cached."""

    root: Path
    name: str
    config: Mapping[str, Any]

    @classmethod
    def open(cls, root: str | Path) -> Dataset:
        """Opens an existing dataset. Raises UserError if `root` is none, or of another format version."""
        root = dataset_path(root)
        path = root / paths.DATASET_FILE
        if not path.exists():
            raise UserError(f"{root}: not a dataset ({paths.DATASET_FILE} is missing): make one with `x2i crawl`")
        try:
            document = json.loads(path.read_bytes())
            version, name = document["format_version"], document["name"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: expected a JSON object with format_version and name") from error
        if version != paths.FORMAT_VERSION:
            raise UserError(f"{path}: format version {version!r}; this x2i reads version {paths.FORMAT_VERSION}")
        return cls(root, name, document.get("config", {}))

    @classmethod
    def create(cls, root: str | Path, name: str | None = None, config: Mapping[str, Any] | None = None) -> Dataset:
        """Opens the dataset at `root`, making an empty one first if there is none.

        Raises UserError if `root` is a file, or no folder can be made there.
        """
        root = dataset_path(root)
        if root.exists() and not root.is_dir():
            raise UserError(f"{root}: is a file; expected a folder for the dataset, or a new name for one")
        if not (root / paths.DATASET_FILE).exists():
            document = {"format_version": paths.FORMAT_VERSION, "name": name or root.name, "config": dict(config or {})}
            try:
                write_json(root / paths.DATASET_FILE, document)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise UserError(f"{root}: no folder can be made there: {error.strerror}") from error
        return cls.open(root)

    def image_commits(self) -> list[Commit]:
        """Returns the commits of the image store's partitions, by partition."""
        commits = (commit for stage in ingest_stages(self.root) for commit in list_commits(self.root, stage))
        return sorted(commits, key=lambda commit: commit.partition)

    def images(self, columns: list[str] | None = None) -> pa.Table:
        """Returns the index of every attempted image, failures included, in key order (IMAGE_SCHEMA)."""
        tables = [read_image_index(self.root, commit.partition, columns) for commit in self.image_commits()]
        if tables:
            return pa.concat_tables(tables)
        return IMAGE_SCHEMA.empty_table().select(columns or IMAGE_SCHEMA.names)

    def image(self, key: str) -> tuple[ImageRecord, bytes]:
        """Returns the record and the encoded bytes of a stored image. Raises UserError if there is none."""
        partition = paths.image_partition(key)
        if paths.image_index(self.root, partition).exists():
            index = read_image_index(self.root, partition)
            for row in index.filter(pc.equal(index["key"], key)).to_pylist():
                record = record_from_row(row)
                if record.data_size:
                    return record, read_range(
                        paths.image_tar(self.root, partition), record.data_offset, record.data_size
                    )
        raise UserError(f"{self.root}: no stored image {key!r}")

    def column(self, name: str) -> pa.Table:
        """Returns every partition of column `name`, in key order. Raises UserError if it has not been made."""
        folder = paths.column_folder(self.root, name)
        files = list_files(folder, paths.INDEX_SUFFIX)
        if not files:
            made = sorted(path.name for path in (self.root / "columns").glob("*"))
            raise UserError(f"{self.root}: no column {name!r}; there are: {', '.join(made) or 'none'}")
        return pa.concat_tables(read_table(file) for file in files)

    def relation(self, name: str) -> pa.Table:
        """Returns relation `name`. Raises UserError if it has not been made."""
        return read_relation(self.root, name)

    def shards(self, task: str | None = None) -> list[Shard]:
        """Returns the training shards, by name; of one task if `task` is given."""
        shards = find_shards(self.root) if (self.root / "shards").is_dir() else []
        return [shard for shard in shards if task is None or shard.name.rsplit("-", 2)[0] == task]

    def samples(self, task: str | None = None) -> Iterator[tuple[Sample, list[bytes]]]:
        """Yields every training sample with its encoded images: inputs in order, then the output."""
        for shard in self.shards(task):
            for row in shard.index().to_pylist():
                yield shard.sample(row), shard.image_data(row)
