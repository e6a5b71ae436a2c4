"""The facade: open a dataset, read its images, columns, relations and training samples, query it, run steps on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError, missing_extra
from x2i.image_record import ImageRecord
from x2i.picture import Picture
from x2i.sample import Sample
from x2i.store import paths
from x2i.store.columns import read_relation
from x2i.store.commits import Commit, list_commits
from x2i.store.files.atomic import read_table, write_json
from x2i.store.files.remote import dataset_path, list_files
from x2i.store.files.tar import read_range
from x2i.store.images import IMAGE_SCHEMA, read_image_index, record_from_row
from x2i.store.shards import SHARD_SCHEMA, Shard, find_shards
from x2i.store.stages import committed_stages, ingest_stages

if TYPE_CHECKING:
    import duckdb

    from x2i.store.torch_samples import TorchImages, TorchSamples

RUNNER = "x2i.runner"
"""The entry point by which the application that runs steps makes itself known."""


@dataclass(frozen=True, repr=False)
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

    def pictures(self, where: str | None = None) -> Iterator[Picture]:
        """Yields the stored images in key order, with their records; a notebook shows them.

        where: an SQL predicate over images, columns and relations, such as "quality.sharpness > 100"; see `query`.
        """
        keys = None if where is None else self.keys_where(where)
        for commit in self.image_commits():
            tar = paths.image_tar(self.root, commit.partition)
            for row in read_image_index(self.root, commit.partition).to_pylist():
                if row["data_size"] and (keys is None or row["key"] in keys):
                    record = record_from_row(row)
                    yield Picture(read_range(tar, record.data_offset, record.data_size), record)

    def keys_where(self, predicate: str) -> set[str]:
        """Returns the keys of the stored images for which an SQL predicate over images and columns is true."""
        from x2i.store.query.views import Selection, connect, list_views, select

        views = list_views(self)
        with connect(self, views) as connection:
            kept = select(connection, views, Selection.parse([predicate])).kept
        return {key for keys in kept["keys"].to_pylist() for key in keys}

    def columns(self) -> list[str]:
        """Returns the names of the columns that have been made."""
        return [stage.name for stage in committed_stages(self.root) if stage.kind == "column"]

    def relations(self) -> list[str]:
        """Returns the names of the relations that have been made."""
        return [stage.name for stage in committed_stages(self.root) if stage.kind == "relation"]

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

    def sample_index(self, task: str | None = None) -> pa.Table:
        """Returns what the shards' indexes say about every training sample, without its images (SHARD_SCHEMA)."""
        tables = [shard.index() for shard in self.shards(task)]
        return pa.concat_tables(tables) if tables else SHARD_SCHEMA.empty_table()

    def samples(self, task: str | None = None) -> Iterator[tuple[Sample, list[bytes]]]:
        """Yields every training sample with its encoded images: inputs in order, then the output.

        Raises UserError if a task is named of which there are none.
        """
        for shard in self.shards() if task is None else self._made_shards(task):
            for row in shard.index().to_pylist():
                yield shard.sample(row), shard.image_data(row)

    def query(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Returns the rows that a SELECT over `images`, columns and relations gives, as a DuckDB relation.

        Tables are called as `columns()` and `relations()` name them; `images` holds the stored images. The connection
        sees no files, no network and no other settings. Raises UserError if DuckDB refuses the query.
        """
        from x2i.store.query.sql import query

        return query(self, sql)

    def run(self, step: str | type, **options: Any) -> Any:
        """Runs a step of a manifest on this dataset: `run("caption", model="alt-text", column="captions_alt")`.

        step: a command, an annotation, "mypackage.module:Class", or the class itself.
        options: of the step, as in a manifest or as the flags of its command, and how to run it: `executor` ("inline",
        which is the default, "processes", "ray"), `workers`, `gpus`, `address`, `limit`, `overwrite`. What is done is
        skipped. Returns a summary of each stage. Raises UserError for wrong options, RunError if partitions fail.
        """
        runners = entry_points(group=RUNNER)
        if not runners:
            raise UserError("Dataset.run: this installation of x2i does not name what runs steps: install it again")
        return next(iter(runners)).load()(self, step, **options)

    def to_hf(
        self, task: str | None = None, *, images: bool = False, columns: Sequence[str] = (), where: str | None = None
    ) -> Any:
        """Returns the training samples as a `datasets.Dataset`: key, task, instruction, input_images, output_image.

        images: the stored images instead: image, key, url, page_url, text, license, width, height, and the fields of
        `columns` ("captions" gives captions_caption, ...), of all or of those for which `where` is true, an SQL
        predicate as in `pictures`. Raises UserError if there are none, if `columns` or `where` are given without
        `images`, or if the package `datasets` is not installed.
        """
        from x2i.store.hugging_face import hugging_face_dataset, hugging_face_images
        from x2i.store.image_rows import ImageRows

        _require_images(images, columns, where)
        if images:
            return hugging_face_images(ImageRows(self, columns, where))
        return hugging_face_dataset(self._made_shards(task))

    def to_torch(
        self, task: str | None = None, *, images: bool = False, columns: Sequence[str] = (), where: str | None = None
    ) -> TorchSamples | TorchImages:
        """Returns the training samples as a torch `IterableDataset` of decoded images; see `TorchSamples`.

        images, columns, where: the stored images instead, as in `to_hf`; see `TorchImages`. Raises UserError if there
        are no samples, or if torch is not installed.
        """
        from x2i.store.image_rows import ImageRows

        _require_images(images, columns, where)
        shards = [] if images else self._made_shards(task)
        try:
            from x2i.store.torch_samples import TorchImages, TorchSamples
        except ModuleNotFoundError as error:
            raise missing_extra(error, "Dataset.to_torch") or error from error
        if images:
            return TorchImages(ImageRows(self, columns, where))
        return TorchSamples([shard.tar for shard in shards])

    def _made_shards(self, task: str | None) -> list[Shard]:
        shards = self.shards(task)
        if not shards:
            made = sorted({shard.name.rsplit("-", 2)[0] for shard in self.shards()})
            raise UserError(
                f"{self.root}: no training samples{f' of {task}' if task else ''}: run `x2i materialize` first "
                f"(there are: {', '.join(made) or 'none'})"
            )
        return shards

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {self.root}>"

    def __str__(self) -> str:
        """Returns what it holds, one line each: images by status, columns, relations, samples by task."""
        from x2i.store.summary import summary

        return "\n".join(f"{name:<10} {text or 'none'}" for name, text in summary(self).items())

    def _repr_html_(self) -> str:
        from x2i.store.notebook import dataset_html

        return dataset_html(self)


def _require_images(images: bool, columns: Sequence[str], where: str | None) -> None:
    if not images and (columns or where is not None):
        raise UserError("columns and where are of the stored images: add images=True, or leave them out for samples")
