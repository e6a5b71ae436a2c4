"""The console that every command prints to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 120
"""Columns of what goes to a file or a pipe, which have no width of their own."""


def open_console(*, stderr: bool = False) -> Console:
    """Returns a console as wide as its terminal, or FILE_WIDTH wide where there is none and COLUMNS is not set."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    has_width = console.is_terminal or "COLUMNS" in os.environ
    return console if has_width else Console(stderr=stderr, highlight=False, width=FILE_WIDTH)
