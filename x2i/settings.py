"""Reads YAML into dataclasses, and turns every mistake into a message: file, key path, expectation, nearest name."""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from x2i.errors import UserError
from x2i.options import option_fields, problems

T = TypeVar("T")


def load_settings(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Returns the dataclass `kind` filled from the YAML file at `path`, after `overrides` ("section.key=value").

    Raises UserError that lists every mistake: unknown keys with the nearest valid name, wrong types, missing keys.
    """
    return build_settings(kind, apply_overrides(read_yaml(path), overrides), str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the mapping in the YAML file at `path`. Raises UserError if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    document = parse_yaml(text, str(path))
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected a mapping of settings, found {type(document).__name__}")
    return document


def named_file(name: Path, folder: Path, what: str, relative_to: Path = Path()) -> Path:
    """Returns the file that `name` stands for: a path, or the name (without .yaml) of a file in `folder`.

    what: what messages call such a file. relative_to: the folder that a relative path starts from.
    Raises UserError, with the nearest name, if there is neither.
    """
    path, packaged = relative_to / name, folder / f"{name}.yaml"
    if path.is_file() or len(name.parts) > 1 or name.suffix:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return path
    if not packaged.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        raise UserError(f"{path}: no such file, and no {what} is called so: {nearest(str(name), names)}")
    return packaged


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Returns a copy of `document` with each "section.key=value" set; the value is read as YAML."""
    result = _copy(document)
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path.strip():
            raise UserError(f"--set {override!r}: expected section.key=value")
        *parents, last = path.strip().split(".")
        place = result
        for name in parents:
            child = place.get(name)
            place[name] = child if isinstance(child, dict) else {}
            place = place[name]
        place[last] = parse_yaml(text, f"--set {override}")
    return result


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as people write it, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str, origin: str) -> Any:
    """Returns the value of a YAML text; `origin` is named in the UserError that bad YAML raises."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{origin}: not valid YAML: {error}") from error


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


_hints = cache(get_type_hints)


def build_settings(kind: type[T], document: dict[str, Any], file: str) -> T:
    """Returns the dataclass `kind` built from `document`; `file` is named in errors (see `load_settings`)."""
    from pydantic import ValidationError

    try:
        text = json.dumps(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: a value is of a kind that JSON does not have: {error}") from error
    mistakes = list(_unknown_keys(kind, document, ()))
    try:
        # Strict in JSON mode: "8" is no number, and a list is a tuple.
        settings = _adapter(cast("Any", kind)).validate_json(text, strict=True)
    except ValidationError as error:
        mistakes += [_describe(entry) for entry in error.errors()]
    else:
        mistakes += problems(settings)
        if not mistakes:
            return settings
    lines = "\n".join(f"  {line}" for line in mistakes)
    raise UserError(f"{file}: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}; nothing was run:\n{lines}")


def with_set(kind: type[T], texts: Sequence[str], name: str, **values: Any) -> T:
    """Returns a `kind` with the options that `texts` ("key=value", the value as YAML) and `values` give.

    Raises UserError, naming the option and its nearest valid name, for unknown keys, wrong
    types and values out of bounds.
    """
    return from_mapping(kind, apply_overrides({}, texts), name, **values)


def from_mapping(kind: type[T], document: Mapping[str, Any], name: str, **values: Any) -> T:
    """Returns a `kind` from the options in `document`, by name whatever their group, and further fields in `values`.

    Raises UserError as `with_set`.
    """
    names = {field.name: field.path for field in option_fields(kind)}
    nested: dict[str, Any] = dict(values)
    for key, value in document.items():
        if key not in names:
            raise UserError(f"{name}: {key}: unknown key: {nearest(key, list(names))}")
        place = nested
        for group in names[key][:-1]:
            place = place.setdefault(group, {})
        place[key] = value
    return build_settings(kind, nested, name)


def nearest(name: str, valid: Sequence[str]) -> str:
    """Returns a hint for a message: the valid name nearest to `name`, or all of them."""
    close = difflib.get_close_matches(name, valid, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of: {', '.join(sorted(valid))}"


def _unknown_keys(kind: Any, value: Any, path: tuple[str, ...]) -> Iterator[str]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        if len(options) == 1:
            yield from _unknown_keys(options[0], value, path)
    elif origin in (dict, Mapping) and isinstance(value, dict):
        for name, child in value.items():
            yield from _unknown_keys(get_args(kind)[1], child, (*path, str(name)))
    elif origin in (list, tuple) and isinstance(value, list):
        for index, child in enumerate(value):
            yield from _unknown_keys(get_args(kind)[0], child, (*path, str(index)))
    elif is_dataclass(kind) and isinstance(value, dict):
        hints = _hints(cast("Any", kind))
        valid = [field.name for field in fields(kind) if field.init]
        for name, child in value.items():
            if name not in valid:
                yield f"{'.'.join((*path, str(name)))}: unknown key: {nearest(str(name), valid)}"
            else:
                yield from _unknown_keys(hints[name], child, (*path, name))


def _describe(entry: Any) -> str:
    path = ".".join(str(part) for part in entry["loc"])
    message = entry["msg"][0].lower() + entry["msg"][1:]
    found = "" if entry["type"] == "missing" else f", found {entry['input']!r}"
    return f"{path}: {message}{found}"


def _copy(document: dict[str, Any]) -> dict[str, Any]:
    return {name: _copy(value) if isinstance(value, dict) else value for name, value in document.items()}
