"""Command lines made of options: a dataclass parameter of a command becomes one flag per option."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from x2i.options import OptionField, build, check, option_fields


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Returns `function` as typer wants it: each parameter that is an options dataclass spread out into flags.

    The options that typer hands over are put together again and checked against their bounds.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        if isinstance(hint, type) and is_dataclass(hint):
            groups[name] = hint
        else:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
    for kind in groups.values():
        parameters += [_parameter(field) for field in option_fields(kind)]

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        built: dict[str, Any] = {}
        for name, kind in groups.items():
            values = {field.name: _value(field, arguments.pop(field.name)) for field in option_fields(kind)}
            built[name] = build(kind, values)
            check(built[name])
        function(**arguments, **built)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    # Typer would read the signature of the wrapped function instead.
    del command.__wrapped__  # type: ignore[attr-defined]
    return command


def with_help(app: typer.Typer, docstring: str) -> Callable[..., Any]:
    """Returns the one command of `app` with a docstring as its help: paragraphs that are commands are set off as code.

    Their indentation alone would be lost wherever all other paragraphs have it too.
    """
    command = typer.main.get_command(app)
    paragraphs = [text.removeprefix("Example: ") for text in inspect.cleandoc(docstring).split("\n\n")]
    code = "```\n{}\n```" if app.rich_markup_mode == "markdown" else "\b\n    {}"
    is_code = [text.lstrip().startswith(("x2i ", "omnigen ")) for text in paragraphs]
    command.help = "\n\n".join(
        code.format(text.strip()) if is_one else text for text, is_one in zip(paragraphs, is_code, strict=True)
    )
    return command


def _parameter(field: OptionField) -> inspect.Parameter:
    option, kind = field.option, field.kind
    spelled = field.name.replace("_", "-")
    flag = option.flag or f"--{spelled}"
    if option.flag is None and _bare(kind) is bool and field.default is not False:
        flag = f"--{spelled}/--no-{spelled}"
    limits: dict[str, Any] = {}
    if _bare(kind) in (int, float):
        limits = {"min": option.ge, "max": option.le}
    info = typer.Option(flag, help=option.help, metavar=option.metavar, **limits)
    default = inspect.Parameter.empty if field.required else _typed_default(field)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[_typer_kind(field), info]
    )


def _typer_kind(field: OptionField) -> Any:
    """Returns the type that typer parses: lists for tuples and for what the option parses itself."""
    if field.option.parse is not None:
        return list[str] | None
    bare = _bare(field.kind)
    if get_origin(bare) in (tuple, list):
        item = get_args(bare)[0]
        return types.GenericAlias(list, (str if get_origin(item) is Literal else item,)) | None
    return field.kind


def _typed_default(field: OptionField) -> Any:
    if field.option.parse is not None or isinstance(field.default, (tuple, list, Mapping)):
        return list(field.default) if isinstance(field.default, (tuple, list)) and field.default else None
    return field.default


def _value(field: OptionField, typed: Any) -> Any:
    if field.option.parse is not None:
        return field.option.parse(list(typed)) if typed else field.default
    if get_origin(_bare(field.kind)) is tuple:
        _require_choices(field, typed or ())
        return tuple(typed) if typed else (field.default if typed is None and not field.required else ())
    return typed


def _require_choices(field: OptionField, typed: Sequence[Any]) -> None:
    """Raises BadParameter for an item that a list of literals does not allow: typer knows no such lists."""
    item = get_args(_bare(field.kind))[0]
    wrong = [value for value in typed if get_origin(item) is Literal and value not in get_args(item)]
    if wrong:
        raise typer.BadParameter(
            f"--{field.name.replace('_', '-')}: expected {', '.join(get_args(item))}: {wrong[0]!r}"
        )


def _bare(kind: Any) -> Any:
    """Returns `kind` without its None: `int` for `int | None`."""
    if get_origin(kind) in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        return options[0] if len(options) == 1 else kind
    return kind
