"""A relation: its declaration and options, and how it follows when images are taken down."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from x2i.reasons import Reason
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.store import Dataset
    from x2i.store.commits import Counts


class Relation:
    """The base of relations. A subclass is a frozen dataclass: its fields are the options with which it is made.

    memory_per_image: bytes that the process that makes it holds for each stored image, 0 where that is little.
    """

    spec: ClassVar[TableSpec]
    memory_per_image: ClassVar[int] = 0

    def without(self, table: pa.Table, keys: AbstractSet[str], dataset: Dataset) -> pa.Table:
        """Returns the relation of the images that stay when those with `keys` are taken down.

        The rows that hold one of the keys are removed afterwards in any case. Given its own result it returns it
        unchanged: a takedown that was killed asks again.
        """
        return table

    def alike(self, table: pa.Table, keys: AbstractSet[str]) -> frozenset[str]:
        """Returns the keys of the images that look the same as one of `keys` does."""
        return frozenset()

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts | None:
        """Returns what became of the planned `images` (a field `key`) in `table`; None if only `kept` says that."""
        return None


def count_used(spec: TableSpec, images: pa.Table, table: pa.Table, otherwise: Reason) -> Counts:
    """Returns how many of the planned `images` are named in `table`, a table of `spec`, and the others' reason."""
    from x2i.store.commits import Counts

    used = len(spec.images_in(table))
    lost = images.num_rows - used
    return Counts(used, {str(otherwise): lost} if lost else {})
