"""x2i: what a sample is, how it is stored, and what each construction step does to it.

import x2i

dataset = x2i.Dataset.open("data")
dataset.run("caption")
dataset.query("SELECT host, count(*) FROM images GROUP BY host")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from x2i.picture import Picture
    from x2i.sample import Sample
    from x2i.store import Dataset

__version__ = "0.1.0"
__all__ = ["Dataset", "Picture", "Sample", "__version__"]

_MODULES = {"Dataset": "x2i.store", "Picture": "x2i.picture", "Sample": "x2i.sample"}


def __getattr__(name: str) -> Any:
    """Imports a class when it is first used: `import x2i` alone loads nothing else."""
    if name not in _MODULES:
        raise AttributeError(f"module 'x2i' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
