"""`x2i list`: prints what a registry holds, with options and defaults."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from pipelines.catalog import CATALOGS, entries
from x2i.errors import UserError
from x2i.settings import nearest


def command(
    kind: Annotated[str, typer.Argument(help=f"What to list: {', '.join(CATALOGS)}.")],
    name: Annotated[str | None, typer.Argument(help="One entry, or mypackage.module:Class; with its options.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what there is of a kind: name, title, what it reads and writes, options with defaults, the extra it needs.

    x2i list models

    x2i list recipes deblur
    """
    if kind not in CATALOGS:
        raise UserError(f"x2i list {kind}: {nearest(kind, list(CATALOGS))}")
    found = entries(kind, name)
    if json:
        typer.echo(json_module.dumps(found, indent=2, default=str))
        return
    for entry in found:
        _print(entry, whole=name is not None)


def _print(entry: dict[str, Any], whole: bool) -> None:
    extra = f"  [pip install 'x2i[{entry['extra']}]']" if entry.get("extra") else ""
    typer.secho(entry["name"], bold=True, nl=False)
    typer.echo(f"  {entry['title']}{extra}")
    for label in ("group", "reads", "writes", "path"):
        if entry.get(label):
            typer.echo(f"    {label}: {entry[label]}")
    for option, about in entry["options"].items() if whole else ():
        typer.echo(f"    {option} = {about['default']!r}: {about['help']}")
    if not whole and entry["options"]:
        shown = ", ".join(f"{option}={about['default']}" for option, about in entry["options"].items())
        typer.echo(f"    options: {shown}")
