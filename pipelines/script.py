"""Runs a function as a script of this project: a user's mistakes end it in a line, not in a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from x2i.errors import UserError, missing_extra


def run_script(function: Callable[..., None], name: str) -> None:
    """Runs `function` with the options typed. Exits with 2, after a line, for mistakes and what is not installed."""
    try:
        typer.run(function)
        return
    except UserError as error:
        mistake: UserError | None = error
    except ModuleNotFoundError as error:
        mistake = missing_extra(error, f"make {name}")
        if mistake is None:
            raise
    typer.secho(f"{name}: {mistake}", fg=typer.colors.RED, err=True)
    sys.exit(2)
