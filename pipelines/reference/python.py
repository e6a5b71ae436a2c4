"""The reference page of the Python API: the public classes with their methods, as their docstrings describe them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

CLASSES = ("x2i:Dataset", "x2i:Picture", "x2i:Sample", "omnigen.generate.pipeline:OmniGenPipeline")
HEAD = """# Python

The classes that a program uses: datasets, pictures and samples from `x2i`, generation from `omnigen`.
"""


def python_page() -> str:
    """Returns the page: a section per class, a signature and a docstring per public method."""
    lines = [HEAD]
    for path in CLASSES:
        module, _, name = path.partition(":")
        lines += _class(f"{module}.{name}", getattr(importlib.import_module(module), name))
    return "\n".join(lines) + "\n"


def _class(name: str, kind: type) -> Iterator[str]:
    yield from (f"## {name}", "", _text(kind), "")
    for member, value in vars(kind).items():
        function = getattr(value, "__func__", value)
        function = value.fget if isinstance(value, property) else function
        if (member.startswith("_") and member != "__call__") or not inspect.isfunction(function):
            continue
        yield from (f"### {name.rpartition('.')[2]}.{member}", "", "```python")
        yield f"{member}" if isinstance(value, property) else f"{member}{_signature(function)}"
        yield from ("```", "", _text(function), "")


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=parameter.annotation)
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=parameters)).replace("'", "")


def _text(documented: Any) -> str:
    return inspect.getdoc(documented) or ""
