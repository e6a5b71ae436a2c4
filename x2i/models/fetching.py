"""Fetching a model once per machine: workers that start together wait for the first one's download."""

from __future__ import annotations

import getpass
import hashlib
import tempfile
from pathlib import Path
from typing import Protocol

from filelock import FileLock


class Fetched(Protocol):
    def fetch(self) -> None: ...


def fetched_once(wanted: Fetched) -> None:
    """Calls `wanted.fetch()` while no other process of this user on this machine fetches the same."""
    name = hashlib.sha256(repr(wanted).encode()).hexdigest()[:24]
    with FileLock(Path(tempfile.gettempdir()) / f"x2i-{getpass.getuser()}-{name}.lock"):
        wanted.fetch()
