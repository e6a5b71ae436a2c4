"""Repeated captions: how many images have the same words, as names of shops and templates of pages do."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
import pyarrow.compute as pc

from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation
from x2i.store.commits import Counts
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.store import Dataset

FOLDED = r"trim(regexp_replace(regexp_replace(lower(caption), '\d+', '0', 'g'), '[\s\p{P}\p{S}]+', ' ', 'g'))"
"""Captions are the same words if they are equal in this form: case, punctuation, spaces and numbers make no other."""


@dataclass(frozen=True)
class CaptionRepeats(Relation):
    """One row per image with a caption, in key order: how many images have the same words."""

    captions: Annotated[str, Option("The column of captions.")] = "captions"

    spec = TableSpec(
        name="caption_repeats",
        title="has words of its own",
        made_by="repeats",
        schema=pa.schema(
            [
                ("key", pa.string()),
                ("first", pa.string()),  # key of the first image with these words
                ("images", pa.int64()),  # how many images have them, this one included
            ]
        ),
        kind="relation",
        image_keys=("key", "first"),
        kept="images <= 10",
    )

    def find(self, images: pa.Table, dataset: Dataset) -> pa.Table:
        """Returns the rows for those of `images` (a field `key`) that have a caption, in key order."""
        from x2i.store.query.views import connect, list_views

        with connect(dataset, list_views(dataset)) as connection:
            connection.register("wanted", images.select(["key"]))
            words = f'SELECT key, md5({FOLDED}) AS words FROM "{self.captions}" SEMI JOIN wanted USING (key)'
            found = connection.sql(
                f"SELECT key, min(key) OVER same AS first, count(*) OVER same AS images "
                f"FROM ({words} WHERE caption <> '') WINDOW same AS (PARTITION BY words) ORDER BY key"
            )
            return found.to_arrow_table().cast(self.spec.schema)

    def without(self, table: pa.Table, keys: AbstractSet[str], dataset: Dataset) -> pa.Table:
        """Removes `keys` and counts the images that had their words anew."""
        going = pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))
        stays = table.filter(pc.invert(going))
        counted = stays.select(["key", "first"]).group_by("first").aggregate([("key", "min"), ("key", "count")])
        place = pc.index_in(stays["first"], counted["first"].combine_chunks()).combine_chunks()
        columns = [stays["key"], counted["key_min"].take(place), counted["key_count"].take(place)]
        return pa.table(columns, schema=self.spec.schema).replace_schema_metadata(table.schema.metadata)

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        silent = images.num_rows - table.num_rows
        return Counts(table.num_rows, {str(Reason.NO_CAPTION): silent} if silent else {})
