"""Table declarations: what a column or relation holds, said once and kept in the metadata of its own Parquet files.

A column has rows about one image each and is partitioned like the image store; a relation joins several images. Whoever
makes a table declares it with a `TableSpec`; whoever reads one (queries, report, card, statistics, takedown, verify)
asks its files, so that a table made by code from outside this project is handled like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A field that holds an encoded image, as the `Image` feature of Hugging Face datasets stores it."""

_SPEC, _FEATURES = b"x2i.table", b"huggingface"


@dataclass(frozen=True)
class TableSpec:
    """One table.

    name: what it is called where nobody chose another name; a name in SQL, [a-z0-9_]+.
    title: one line for people. made_by: the command that makes it, without `x2i`.
    schema: its fields; a column has a string field `key`, which comes first.
    kind: "column" or "relation". rows: "one" row for each image, found by its field `key`, or "many".
    image_keys: the fields that hold keys of images, one (string) or several (list of strings) in a row. When an image
    is taken down, a row that holds its key in any of them is removed.
    kept: an SQL condition on a row that is true where it counts as a find, for the report ("caption IS NOT NULL").
    encodings: field -> how its values are to be read, such as "16-bit PNG, near is bright".
    """

    name: str
    title: str
    made_by: str
    schema: pa.Schema
    kind: Literal["column", "relation"] = "column"
    rows: Literal["one", "many"] = "one"
    image_keys: tuple[str, ...] = ("key",)
    kept: str = "TRUE"
    encodings: Mapping[str, str] = field(default_factory=dict)

    @property
    def image_fields(self) -> tuple[str, ...]:
        """The fields that hold an encoded image."""
        return image_fields(self.schema)

    def stamped(self, table: pa.Table) -> pa.Table:
        """Returns `table` in this schema, with the declaration in its metadata."""
        document = {name: value for name, value in vars(self).items() if name != "schema"}
        metadata = {_SPEC: json.dumps(document, sort_keys=True, default=dict).encode()}
        if self.image_fields:
            features = {name: {"_type": "Image"} for name in self.image_fields}
            info = {"info": {"features": {**_value_features(self.schema), **features}}}
            metadata[_FEATURES] = json.dumps(info, sort_keys=True).encode()
        return table.cast(self.schema).replace_schema_metadata(metadata)

    @classmethod
    def of(cls, schema: pa.Schema) -> TableSpec | None:
        """Returns the declaration in a Parquet file's schema, None if there is none."""
        text = (schema.metadata or {}).get(_SPEC)
        if text is None:
            return None
        document: dict[str, Any] = json.loads(text)
        document["image_keys"] = tuple(document["image_keys"])
        return cls(schema=schema.remove_metadata(), **document)

    @classmethod
    def read(cls, path: Path) -> TableSpec | None:
        """Returns the declaration in the Parquet file at `path`, None if there is none."""
        with path.open("rb") as stream:
            return cls.of(pq.read_schema(stream))

    def images_in(self, table: pa.Table) -> pa.Array:
        """Returns the distinct keys of the images that the rows of `table` say something about.

        Where there is a field `key`, those in it: a row's other keys tell something about that image.
        """
        names = ("key",) if "key" in self.schema.names else self.image_keys
        columns = [table[name].combine_chunks() for name in names]
        flat = [pc.list_flatten(column) if pa.types.is_list(column.type) else column for column in columns]
        return pc.unique(pa.chunked_array(flat, pa.string())).drop_null()

    def count_kept(self, table: pa.Table) -> int:
        """Returns how many images have a row that counts as a find (`kept`).

        The condition is run by a DuckDB without files and network: it was read from a file.
        """
        import duckdb

        with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
            connection.execute("SET lock_configuration = true")
            readable = table.cast(without_half_floats(table.schema))
            rows = connection.from_arrow(readable).filter(self.kept)
            return len(self.images_in(rows.to_arrow_table()))

    def as_json(self) -> dict[str, Any]:
        """Returns the declaration as JSON values, the schema as a mapping of field to type."""
        document = {**asdict(self), "schema": {field.name: str(field.type) for field in self.schema}}
        return {**document, "image_keys": list(self.image_keys)}


def without_half_floats(schema: pa.Schema) -> pa.Schema:
    """Returns `schema` with 32-bit floats for 16-bit ones, which DuckDB does not read from Arrow."""
    return pa.schema([field.with_type(_whole(field.type)) for field in schema], metadata=schema.metadata)


def _whole(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_whole(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_whole(kind.value_type))
    return pa.float32() if pa.types.is_float16(kind) else kind


def image_fields(schema: pa.Schema) -> tuple[str, ...]:
    """Returns the names of the fields that hold an encoded image."""
    return tuple(field.name for field in schema if field.type == IMAGE_TYPE)


def _value_features(schema: pa.Schema) -> dict[str, Any]:
    """Returns Hugging Face's features of the plain fields; fields of other types are left to its own inference."""
    return {
        field.name: {"dtype": _dtype(field.type), "_type": "Value"}
        for field in schema
        if not pa.types.is_nested(field.type)
    }


def _dtype(kind: pa.DataType) -> str:
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return names.get(str(kind), str(kind))
