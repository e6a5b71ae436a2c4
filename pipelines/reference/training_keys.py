"""The reference page of a training configuration's keys: each section with its docstring, keys and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from pipelines.reference.registries import code

HEAD = """# Training keys

The keys of a training configuration, by section. `--set section.key=value` changes one.
"""


def training_keys_page() -> str:
    """Returns the page: a section per group of keys."""
    from omnigen.train.config import TrainingConfig

    return "\n".join([HEAD, *_sections(TrainingConfig)]) + "\n"


def _sections(kind: Any) -> Iterator[str]:
    plain = []
    for field in fields(kind):
        default = _default(field)
        if is_dataclass(default):
            yield from (f"## {field.name}", "", inspect.getdoc(type(default)) or "", "")
            yield from _table(
                [f"{field.name}.{key.name}" for key in fields(default)], list(map(_default, fields(default)))
            )
        else:
            plain.append(field)
    yield from ("## Beside the sections", "", inspect.getdoc(kind) or "", "")
    yield from _table([field.name for field in plain], [_default(field) for field in plain])


def _table(names: list[str], defaults: list[Any]) -> Iterator[str]:
    yield from ("| key | default |", "|---|---|")
    yield from (f"| `{name}` | {code(default)} |" for name, default in zip(names, defaults, strict=True))
    yield ""


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return "required" if field.default is MISSING else field.default
