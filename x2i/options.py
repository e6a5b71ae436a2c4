"""Options: fields of frozen dataclasses, each written once with its default, bounds and help.

    @dataclass(frozen=True)
    class Blur:
        sigma: Annotated[float, Option("Standard deviation in pixels.", ge=0.1, le=20)] = 2.0

Command lines (x2i.command_options), manifests and `--set key=value` (x2i.settings), fingerprints (`as_config`) and the
reference pages read the field from here. A field may itself be such a dataclass: a group, whose fields count as
the outer one's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from x2i.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """What an `Annotated` field says about itself.

    help: one line for `--help` and the reference. ge, le, gt, lt: bounds of numbers, or of each of a list or mapping.
    flag: its spelling on the command line where that is not `--field-name`; a second spelling may follow a slash.
    metavar: what stands for its value in the help. parse: makes the value of the texts typed on the command line; a
    function of the module, since a lambda in an annotation does not see the module's names.
    decides: whether the output's bytes depend on it; if not, it is no part of the fingerprint.
    """

    help: str
    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    lt: float | None = None
    flag: str | None = None
    metavar: str | None = None
    parse: Callable[[list[str]], Any] | None = None
    decides: bool = True

    def problem(self, value: Any) -> str | None:
        """Returns what is wrong with `value`, as "expected at least 1, found 0"; None if it lies within the bounds."""
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            return next((problem for item in value if (problem := self.problem(item))), None)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        bounds = (
            (self.ge, "at least", operator.ge),
            (self.gt, "more than", operator.gt),
            (self.le, "at most", operator.le),
            (self.lt, "less than", operator.lt),
        )
        broken = [
            f"{words} {bound:g}" for bound, words, holds in bounds if bound is not None and not holds(value, bound)
        ]
        return f"expected {' and '.join(broken)}, found {value!r}" if broken else None


@dataclass(frozen=True)
class OptionField:
    """One option of a dataclass. path: the names of its groups, then its own. kind: its type without `Annotated`."""

    path: tuple[str, ...]
    kind: Any
    default: Any
    option: Option

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def required(self) -> bool:
        return self.default is MISSING


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind, include_extras=True)


def option_fields(kind: Any) -> tuple[OptionField, ...]:
    """Returns the options of a dataclass, those of its groups in place. Fields without an `Option` are not options."""
    return _option_fields(kind)


@cache
def _option_fields(kind: Any) -> tuple[OptionField, ...]:
    hints = _hints(kind)
    found: list[OptionField] = []
    for field in fields(kind):
        if not field.init:
            continue
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            found += [replace(inner, path=(field.name, *inner.path)) for inner in option_fields(hint)]
        elif get_origin(hint) is Annotated:
            inner_kind, *metadata = get_args(hint)
            option = next((entry for entry in metadata if isinstance(entry, Option)), None)
            if option is not None:
                default = field.default_factory() if field.default_factory is not MISSING else field.default
                found.append(OptionField((field.name,), inner_kind, default, option))
    names = [field.name for field in found]
    assert len(set(names)) == len(names), f"{kind.__name__}: two options of one name among {names}"
    return tuple(found)


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """Returns a `kind` from option values by name, groups filled; names that are missing keep their defaults."""
    hints = _hints(cast("Any", kind))
    arguments: dict[str, Any] = {}
    for field in fields(cast("Any", kind)):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            arguments[field.name] = build(hint, values)
        elif field.name in values:
            arguments[field.name] = values[field.name]
    return kind(**arguments)


def check(instance: Any, name: str = "") -> None:
    """Raises UserError if an option lies outside its bounds. name: whose option it is, for the message."""
    mistakes = list(problems(instance))
    if mistakes:
        raise UserError(": ".join(part for part in (name, "; ".join(mistakes)) if part))


def problems(instance: Any, path: Sequence[str] = ()) -> Iterator[str]:
    """Yields "path.name: expected ..., found ..." for each option out of bounds, of `instance` and of what it holds."""
    if not is_dataclass(instance) or isinstance(instance, type):
        return
    own = {field.name: field.option for field in option_fields(type(instance)) if len(field.path) == 1}
    for field in fields(instance):
        value, here = getattr(instance, field.name), (*path, field.name)
        if field.name in own and (problem := own[field.name].problem(value)):
            yield f"{'.'.join(here)}: {problem}"
        for number, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
            yield from problems(item, (*here, str(number)))
        for name, item in value.items() if isinstance(value, dict) else ():
            yield from problems(item, (*here, str(name)))
        yield from problems(value, here)


def as_config(instance: Any) -> dict[str, Any]:
    """Returns the options that decide the output's bytes, as JSON values by name: their part of a fingerprint."""
    return {
        field.name: _json_value(_get(instance, field.path))
        for field in option_fields(type(instance))
        if field.option.decides
    }


def defaults(kind: Any) -> dict[str, Any]:
    """Returns each option's default by name, as a reader would write it; a required one has "required"."""
    return {f.name: "required" if f.required else _json_value(f.default) for f in option_fields(kind)}


def _get(instance: Any, path: Sequence[str]) -> Any:
    for name in path:
        instance = getattr(instance, name)
    return instance


def _json_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _json_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset, set)):
        return [_json_value(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value
