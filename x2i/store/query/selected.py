"""Which images a selection keeps, and at which predicate each of the others fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from x2i.store.query.predicates import tested_field
from x2i.store.query.views import Selection, connect, list_views, select

if TYPE_CHECKING:
    from x2i.store import Dataset


@dataclass(frozen=True)
class SelectedImages:
    """kept: keys of the images that fulfill every predicate. cut: predicate -> keys of those that fail it first."""

    kept: list[str]
    cut: dict[str, list[str]]

    @property
    def total(self) -> int:
        return len(self.kept) + sum(map(len, self.cut.values()))


def selected_images(dataset: Dataset, selection: Selection, made_by: Mapping[str, str]) -> SelectedImages:
    """Asks every stored image the predicates of `selection`, in their order.

    made_by: table -> the command that makes it, for messages. Raises UserError as `select`.
    """
    views = list_views(dataset)
    kept: list[set[str]] = []
    with connect(dataset, views, sorted(selection.tables()), made_by) as connection:
        for count in range(len(selection.predicates) + 1):
            first = Selection(dict(list(selection.predicates.items())[:count]))
            keys = select(connection, views, first).kept["keys"].to_pylist()
            kept.append({key for (key,) in keys})
    cut = {
        name: sorted(before - after) for name, before, after in zip(selection.predicates, kept, kept[1:], strict=False)
    }
    return SelectedImages(sorted(kept[-1]), cut)


def tested_values(dataset: Dataset, predicate: str, keys: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """Returns the field that a predicate tests, as "quality.sharpness", and its value in each image of `keys`.

    None if the predicate tests several fields, or one of a table with several rows per image.
    """
    field, views = tested_field(predicate), list_views(dataset)
    if field is None or field[0].lower() not in views or views[field[0].lower()].has_many_rows:
        return None
    table, name = field
    with connect(dataset, views) as connection:
        quoted = name.replace('"', '""')
        rows = connection.execute(f'SELECT key, "{quoted}" FROM "{table}" WHERE list_contains(?, key)', [list(keys)])
        return f"{table}.{name}", dict(rows.fetchall())
