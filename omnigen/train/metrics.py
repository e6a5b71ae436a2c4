"""What a run writes as it goes: lines of JSON, and the same numbers for TensorBoard.

`metrics.jsonl`, `validation.jsonl` and `bad_samples.jsonl` hold what the configuration determines, so that a killed and
resumed run gives the same bytes; `timing.jsonl` holds what the clock says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from x2i.store.atomic import write_bytes

METRICS, VALIDATION, TIMING, BAD_SAMPLES = "metrics.jsonl", "validation.jsonl", "timing.jsonl", "bad_samples.jsonl"
FILES = (METRICS, VALIDATION, TIMING, BAD_SAMPLES)


class RunLog:
    """Appends to the files of a run that continues after step `step`: later lines, of a life that ended, go first."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        for name in FILES:
            _keep_until(folder / name, step)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, name: str, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line to the file `name`, and its numbers to TensorBoard under the file's stem."""
        line = json.dumps({"step": step, **values}, ensure_ascii=False, allow_nan=False)
        with open(self._folder / name, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        for tag, number in _numbers(values, name.removesuffix(".jsonl")):
            self._board.add_scalar(tag, number, step)

    def close(self) -> None:
        """Writes out what TensorBoard has not yet."""
        self._board.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a JSON lines file; a last line that was cut short is left out. [] if there is none."""
    if not path.is_file():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line]


def _keep_until(path: Path, step: int) -> None:
    if not path.is_file():
        return
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines(keepends=True)
    kept = [line.rstrip(b"\n") + b"\n" for line in lines if json.loads(line)["step"] <= step]
    if (data := b"".join(kept)) != path.read_bytes():
        write_bytes(path, data)


def _numbers(values: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.extend(_numbers(value, f"{prefix}/{name}"))
        elif isinstance(value, int | float):
            found.append((f"{prefix}/{name}", float(value)))
    return found
