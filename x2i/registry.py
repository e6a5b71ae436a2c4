"""The registry: a table of names, each of which stands for a class that is imported when it is used.

Scores, annotations, backends, recipes, sources, importers, exporters and codecs are all found this way. Adding one
takes its class and one row; a class from outside this project is named by its import path, `mypackage.module:Class`,
which works wherever `mypackage` can be imported.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from x2i.errors import UserError

T = TypeVar("T")

IMPORT_PATH = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


class Registry(Generic[T]):
    """Classes of one kind by name.

    kind: what error messages call an entry, such as "recipe". rows: name -> "module:Class".
    """

    def __init__(self, kind: str, rows: Mapping[str, str]) -> None:
        self.kind = kind
        self._rows = dict(rows)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def names(self) -> list[str]:
        """Returns the registered names, in the order of the table."""
        return list(self._rows)

    def path(self, name: str) -> str:
        """Returns the import path `module:Class` behind `name`. Raises UserError, with the nearest name, if none is."""
        if name in self._rows:
            return self._rows[name]
        if IMPORT_PATH.fullmatch(name):
            return name
        close = difflib.get_close_matches(name, self._rows, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(self._rows) or 'none'}"
        raise UserError(f"no {self.kind} {name!r}: {hint} (one of your own is named mypackage.module:Class)")

    def get(self, name: str) -> type[T]:
        """Returns the class that `name` stands for: a registered name, or the import path of a class from outside.

        Raises UserError if there is none, or if it cannot be imported.
        """
        return load_class(self.path(name), f"{self.kind} {name!r}")


def load_class(path: str, what: str) -> type:
    """Returns the class at the import path `module:Class`. what: what error messages call it. Raises UserError."""
    found = IMPORT_PATH.fullmatch(path)
    if found is None:
        raise UserError(f"{what}: expected an import path such as mypackage.module:Class, found {path!r}")
    try:
        module = importlib.import_module(found["module"])
    except ModuleNotFoundError as error:
        if error.name is not None and (found["module"] == error.name or found["module"].startswith(f"{error.name}.")):
            raise UserError(
                f"{what}: no module {error.name!r} can be imported here (install it, or put its folder on PYTHONPATH)"
            ) from error
        raise
    kind = getattr(module, found["name"], None)
    if not isinstance(kind, type):
        raise UserError(f"{what}: module {found['module']} has no class {found['name']!r}")
    return kind
