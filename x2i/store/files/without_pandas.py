"""pyarrow's first array without the import of pandas that it would cost (apache/arrow, issue 34994)."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa


class _NoPandas(MetaPathFinder):
    """Says that pandas is not there."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(f"{fullname} is not looked for now", name=fullname)


def make_first_array() -> None:
    """Makes pyarrow's first array while pandas cannot be found, so that all later ones do not ask for it either.

    Where pandas is installed, that takes a quarter of a second off every command. `to_pandas` and `from_pandas` ask
    again, and so does whoever imports pandas.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
