"""Columns and relations after a takedown: rows about a removed image go, found by the fields that the table declares.

A row goes if any of its `image_keys` fields holds the key, also where such a field is a list: what the row says besides
was found with the image, and other lists of the row may stand in the order of the keys. A registered relation may say
first what is true of the images that stay (`Relation.without`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from x2i.options import build
from x2i.relate import relation_of
from x2i.relate.base import Relation
from x2i.store import Dataset, paths
from x2i.store.columns import rewrite_table
from x2i.store.commits import list_commits
from x2i.store.files.atomic import read_table
from x2i.store.files.cache import local_copy
from x2i.store.files.remote import list_files
from x2i.tables import TableSpec


def tables_about(root: Path, keys: AbstractSet[str]) -> Iterator[str]:
    """Yields the columns' partitions and the relations that have rows about these images, as paths in the dataset."""
    partitions = {paths.image_partition(key) for key in keys}
    folders = [path for path in sorted((root / "columns").glob("*")) if path.is_dir()]
    tables = [list_files(folder, paths.INDEX_SUFFIX) for folder in folders]
    tables += [[path] for path in list_files(root / "relations", paths.INDEX_SUFFIX)]
    for files in tables:
        fields = key_fields(TableSpec.read(local_copy(files[0]))) if files else None
        for path in files:
            # The field `key` of a column's partition names images of this partition alone.
            if fields == ["key"] and path.parent.name != "relations" and path.stem not in partitions:
                continue
            if pc.any(rows_about(read_table(path, fields), keys)).as_py():
                yield path.relative_to(root).as_posix()


def rewrite_rows(dataset: Dataset, output: str, keys: AbstractSet[str]) -> None:
    """Removes the rows about images `keys` from a table, given by its path in the dataset."""
    path = dataset.root / output
    before = read_table(path)
    spec = TableSpec.of(before.schema)
    relation = made_relation(dataset.root, path.stem, spec)
    after = relation.without(before, keys, dataset) if relation is not None else before
    after = after.filter(pc.invert(rows_about(after, keys, key_fields(spec)))).combine_chunks()
    if not after.equals(before):
        rewrite_table(path, after)


def made_relation(root: Path, stage: str, spec: TableSpec | None) -> Relation | None:
    """Returns a registered relation with the options it was made with, None if it is not registered."""
    kind = relation_of(spec)
    commit = next(list_commits(root, stage), None) if kind is not None else None
    return build(kind, commit.config if commit else {}) if kind is not None else None


def key_fields(spec: TableSpec | None) -> list[str] | None:
    """Returns the fields of a table that hold keys of images; None, for all, if it declares nothing."""
    return list(spec.image_keys) if spec is not None else None


def rows_about(table: pa.Table, names: AbstractSet[str], fields: Sequence[str] | None = None) -> pa.Array:
    """Returns, for each row, whether one of `fields`, or an element of it, is among `names`.

    fields: None for all with texts or lists of texts.
    """
    values = pa.array(sorted(names), pa.string())
    hit = pa.array([False] * table.num_rows, pa.bool_())
    for name in fields if fields is not None else table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
            parents = pc.list_parent_indices(column)
            rows = pc.unique(parents.filter(pc.is_in(pc.list_flatten(column), values)))
            hit = pc.or_(hit, pc.is_in(pa.array(range(table.num_rows), parents.type), rows))
        elif pa.types.is_string(column.type):
            hit = pc.or_(hit, pc.is_in(column, values))
    return hit
