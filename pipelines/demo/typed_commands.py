"""Runs this environment's commands as a user would type them, in the foreground or beside what follows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer


def run(*arguments: str) -> None:
    """Runs a command; ends this process with its status if it fails."""
    typer.secho(f"\n$ {' '.join(arguments)}", bold=True)
    status = subprocess.run(_command(*arguments), check=False).returncode
    if status:
        sys.exit(status)


def start(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts a command beside what follows: training takes one core, and so does most of the rest."""
    typer.secho(f"\n$ {' '.join(arguments)} > {log} &", bold=True)
    with log.open("wb") as output:
        return subprocess.Popen(_command(*arguments), stdout=output, stderr=subprocess.STDOUT)


def finish(running: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for what `start` began; ends with its status and its words if it fails."""
    typer.secho("\n$ wait", bold=True)
    if status := running.wait():
        typer.echo(log.read_text(errors="replace"))
        sys.exit(status)
    typer.echo("\n".join(log.read_text(errors="replace").splitlines()[-6:]))


def _command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]]
