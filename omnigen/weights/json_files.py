"""The JSON files of a model folder: read whole, with numbers that JSON has, or refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from x2i.errors import UserError


def read_document(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file, all its numbers finite. Raises UserError if there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        strange = next(_not_finite(document), None)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: {reason.lower()}; a model folder holds config.json and model.safetensors") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply to be read; write the file again") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(document).__name__}")
    if strange is not None:
        raise UserError(f"{path}: {strange[0]}: found {strange[1]}, expected a finite number; JSON has no other")
    return document


def _not_finite(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yields the numbers that are infinite or none, which Python reads from JSON, each with its field."""
    if isinstance(value, float) and not math.isfinite(value):
        yield name, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _not_finite(child, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _not_finite(child, f"{name}[{index}]")
