"""Stored images as rows for other libraries: the bytes, what the source says, and the fields of chosen columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from x2i.errors import UserError
from x2i.store import paths
from x2i.store.columns import read_column
from x2i.store.files.cache import local_copy
from x2i.store.files.tar import read_range
from x2i.store.images import IMAGE_SCHEMA, read_image_index
from x2i.store.stages import committed_stages
from x2i.tables import IMAGE_TYPE

if TYPE_CHECKING:
    from x2i.store.dataset import Dataset

FIELDS = ("key", "url", "page_url", "text", "license", "width", "height")


@dataclass(frozen=True)
class ImageRows:
    """columns: with one row an image; field f of column c is called c_f, and null where an image has no row.

    where: an SQL predicate as in `Dataset.pictures`. Raises UserError on construction for a column that is not there or
    has many rows an image.
    """

    dataset: Dataset
    columns: Sequence[str] = ()
    where: str | None = None

    def __post_init__(self) -> None:
        made = {stage.name: stage.spec for stage in committed_stages(self.dataset.root) if stage.kind == "column"}
        for name in self.columns:
            if name not in made:
                raise UserError(f"{self.dataset.root}: no column {name!r}; there are: {', '.join(made) or 'none'}")
            if (spec := made[name]) is None or spec.rows != "one":
                raise UserError(f"{self.dataset.root}: column {name!r} has many rows an image: read it with `column`")

    def schema(self) -> pa.Schema:
        """Returns the fields of a row: `image` (IMAGE_TYPE), FIELDS, then those of the columns."""
        fields = [pa.field("image", IMAGE_TYPE), *(IMAGE_SCHEMA.field(name) for name in FIELDS)]
        for name in self.columns:
            schema = self.dataset.column(name).schema
            fields += [pa.field(f"{name}_{field.name}", field.type) for field in schema if field.name != "key"]
        return pa.schema(fields)

    def rows(self, part: int = 0, parts: int = 1) -> Iterator[dict[str, Any]]:
        """Yields the rows in key order; of `parts` equal parts, those of one."""
        keys = None if self.where is None else self.dataset.keys_where(self.where)
        names, root = self.schema().names, self.dataset.root
        for commit in self.dataset.image_commits():
            facts = {name: self._facts(name, commit.partition) for name in self.columns}
            stored = (row for row in read_image_index(root, commit.partition).to_pylist() if row["data_size"])
            kept = [row for row in stored if keys is None or row["key"] in keys]
            for row in kept[part::parts]:
                data = read_range(paths.image_tar(root, commit.partition), row["data_offset"], row["data_size"])
                found = {"image": {"bytes": data, "path": None}, **{name: row[name] for name in FIELDS}}
                for own in facts.values():
                    found |= own.get(row["key"], {})
                yield {name: found.get(name) for name in names}

    def _facts(self, column: str, partition: str) -> dict[str, dict[str, Any]]:
        if not paths.column_file(self.dataset.root, column, partition).exists():
            return {}
        rows = read_column(self.dataset.root, column, partition).to_pylist()
        return {row["key"]: {f"{column}_{name}": value for name, value in row.items()} for row in rows}

    def state(self) -> list[tuple[str, int, float]]:
        """Returns path, size and time of every file that is read, by which a cache knows what it was made from."""
        root, files = self.dataset.root, []
        for commit in self.dataset.image_commits():
            columns = [paths.column_file(root, name, commit.partition) for name in self.columns]
            files += [paths.image_index(root, commit.partition), *(path for path in columns if path.exists())]
        found = [(str(file), local_copy(file).stat()) for file in files]
        return [(name, stat.st_size, stat.st_mtime) for name, stat in found]
