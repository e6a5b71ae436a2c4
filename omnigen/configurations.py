"""The training configurations that come along, by name."""

from __future__ import annotations

from pathlib import Path

from x2i.settings import named_file

CONFIGURATIONS = Path(__file__).parent / "configs"


def find_configuration(name: Path) -> Path:
    """Returns the file that `name` stands for: a path, or the name of a configuration that comes along.

    Raises UserError, with the nearest name, if there is neither.
    """
    return named_file(name, CONFIGURATIONS, "training configuration")
