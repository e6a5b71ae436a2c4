"""Ctrl-C, SIGTERM and a closed terminal end a run at once, with every process that it started: the ledger goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

MESSAGE = "x2i: stopped. What is committed is kept: the same command goes on from there."
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def end_children_on_signals() -> Iterator[None]:
    """While the block runs, a signal of SIGNALS kills our child processes and this one; the exit code is 128 + signal.

    Unwinding instead would wait for the workers' partitions, and leaves Ray's helper processes behind for minutes.
    Nothing is lost by not unwinding: files appear whole or not at all. A signal that is ignored (nohup) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    screen = os.dup(2)

    def end(number: int, frame: FrameType | None) -> None:
        clear = f"{_SHOW_CURSOR}\n" if os.isatty(screen) else ""
        kill_descendants()
        os.write(screen, f"{clear}{MESSAGE}\n".encode())
        os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in (number for number in SIGNALS if before[number] is not signal.SIG_IGN):
            signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(screen)


def kill_descendants() -> None:
    """Kills every process below this one. They are stopped first, so that none starts another meanwhile."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                continue  # it has ended by itself, or is no longer ours


def descendants(pid: int) -> list[int]:
    """Returns the processes below `pid`, parents first; [] where there is no /proc (macOS: Ray ends its own there)."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found
