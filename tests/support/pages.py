"""Pages of the documentation, run as a reader would: files are written, commands are typed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.support import REPOSITORY
from tests.support.forked import run_forked

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")


def blocks(page: str) -> list[tuple[str, str]]:
    """Returns (language, text) of every code block of docs/<page>."""
    return BLOCK.findall((REPOSITORY / "docs" / page).read_text())


def write_files(page: str, folder: Path) -> list[Path]:
    """Writes every block that begins with `# name.py` into `folder`; returns the paths."""
    written = []
    for _, text in blocks(page):
        if named := FILE.match(text):
            (folder / named[1]).write_text(text)
            written.append(folder / named[1])
    return written


def commands(page: str) -> list[list[str]]:
    """Returns the commands of the page's shell blocks, in words."""
    lines = [line for language, text in blocks(page) if language in ("sh", "bash") for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.strip() and not line.startswith("#")]


def typed(words: list[str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Runs `x2i ...` in `folder`, with the folder's own modules importable."""
    assert words[0] == "x2i", words
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    return run_forked(words, *more, folder=folder, environment=environment)
