"""One reference page per command of `x2i` and `omnigen`: its help text, its arguments, its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pipelines.reference.registries import cell, code

PROGRAMS = ("x2i", "omnigen")
TYPED = (*(f"{program} " for program in PROGRAMS), "torchrun ", "Example: ")


def command_pages() -> Iterator[tuple[str, str]]:
    """Yields (file name, text) of an index of each program's commands, and of a page per command."""
    for program in PROGRAMS:
        lines = command_lines(program)
        rows = [f"| [{program} {name}]({name}.md) | {cell(lines[name][1])} |" for name in lines]
        head = [f"# {program}", "", f"The commands of `{program}`.", "", "| command | what it does |", "|---|---|"]
        yield f"{program}/index.md", "\n".join([*head, *rows]) + "\n"
        for name, (load, _) in lines.items():
            yield f"{program}/{name}.md", "\n".join(command_page(f"{program} {name}", click_command(load))) + "\n"


def command_lines(program: str) -> dict[str, tuple[Callable[[], Any], str]]:
    """Returns, of each command by name, how to load it, and its line in the overview."""
    if program == "omnigen":
        from omnigen.cli import COMMANDS as LINES
        from omnigen.cli import _load as load_omnigen

        return {name: (lambda name=name: load_omnigen(name), line) for name, line in LINES.items()}  # type: ignore[misc]
    from pipelines.cli import COMMANDS, _load

    listed = {name: line for commands in COMMANDS.values() for name, line in commands.items()}
    return {name: (lambda name=name: _load(name), line) for name, line in listed.items()}  # type: ignore[misc]


def click_command(load: Callable[[], Any]) -> Any:
    """Returns the click command that `load` makes."""
    return load()


def command_page(name: str, command: Any) -> Iterator[str]:
    """Yields the lines of the page about a command. name: with its program, such as `x2i crawl`."""
    yield f"# {name}"
    for paragraph in (command.help or "").split("\n\n"):
        yield ""
        yield from _paragraph(paragraph)
    if command.epilog:
        page = command.epilog.rpartition("docs/")[2]
        yield from ("", f"Guide: [{page}](../../{page})")
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    if arguments:
        yield from ("", "| argument | |", "|---|---|")
        for argument in arguments:
            yield f"| `{argument.metavar or argument.name.upper()}` | {cell(argument.help or '')} |"
    yield from ("", "| option | default | |", "|---|---|---|")
    for option in options:
        names = ", ".join(f"`{spelling}`" for spelling in (*option.opts, *option.secondary_opts))
        default = "required" if option.required else code(_shown(option.default))
        yield f"| {names} | {default} | {cell(option.help or '')} |"


def _paragraph(text: str) -> Iterator[str]:
    """Yields a paragraph of help; lines that are typed become a code block."""
    lines = [line.strip() for line in text.strip("\n\b").splitlines() if line.strip() != "```"]
    if lines and all(line.startswith(TYPED) for line in lines):
        yield from ("```sh", *(line.removeprefix("Example: ") for line in lines), "```")
    else:
        yield from lines


def _shown(default: Any) -> str:
    if default is None or default is False or default in ("", [], ()) or callable(default):
        return ""
    if not isinstance(default, (str, int, float, bool, list, tuple)):
        return "" if "UNSET" in repr(default).upper() else str(default)
    return ", ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
