"""Commands as they are typed: in this process, and in one that is killed."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli import main
from tests.support.forked import ForkedCommand

CLOCKS = ("logs", "locks")


def typed(*arguments: object) -> int:
    """Runs `x2i` with these arguments in this process; returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def kill_when(condition: Callable[[], bool], *arguments: object) -> bool:
    """Runs `x2i` in a process of its own and kills it with SIGKILL as soon as `condition` holds.

    Returns False if it ended before.
    """
    process = ForkedCommand(["x2i", *arguments])
    while process.poll() is None:
        if condition():
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(0.0005)
    return False


def file_sums(root: Path) -> dict[str, str]:
    """The sha256 of every file below `root`, except those that may carry a clock or a lock."""
    found = [
        path for path in sorted(root.rglob("*")) if path.is_file() and path.relative_to(root).parts[0] not in CLOCKS
    ]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
