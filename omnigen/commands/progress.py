"""A progress bar that opens at its first step, so that a mistake in the arguments is reported without one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import typer


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function advance(count, total): `count` more are done, of `total` in all."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def advance(count: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(typer.progressbar(length=total, label=label, file=sys.stderr)))
            bars[0].update(count)

        yield advance
