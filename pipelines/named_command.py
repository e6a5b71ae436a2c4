"""Commands of a name, `x2i annotate NAME` and `x2i import NAME`: what follows the name is a command of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from x2i.command_options import with_help

NAMED = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Settings of a command that leaves everything after the name to the command of that name."""


def named_command(function: Callable[..., None], page: str) -> Callable[..., Any]:
    """Returns the command line of `function`, its docstring as help. page: of the docs, named at the end."""
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    app.command(epilog=f"Its page: docs/{page}")(function)
    return with_help(app, function.__doc__ or "")


def run_named(command: Callable[..., Any], context: typer.Context, name: str) -> None:
    """Runs a named command with the arguments that were left to it, and exits with its status."""
    # Without standalone mode, typer returns the exit status of the inner command.
    raise typer.Exit(command(args=context.args, prog_name=name, standalone_mode=False) or 0)
