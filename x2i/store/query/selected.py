"""Which images a selection keeps, and at which predicate each of the others fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
