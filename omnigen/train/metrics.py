"""What a run writes as it goes: lines of JSON, and the same numbers for TensorBoard, and Weights & Biases if asked.

`metrics.jsonl`, `validation.jsonl` and `bad_samples.jsonl` hold what the configuration determines, so that a killed and
resumed run gives the same bytes; `timing.jsonl` holds wall-clock times.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnigen.train.run_folder import LOGS, VALIDATION
from x2i.errors import RunError, UserError
from x2i.seeding import stable_hash
from x2i.store.files.atomic import write_bytes


class RunLog:
    """Appends to the files of a run that continues after step `step` of phase `phase` (from 1; 0: none has begun).

    Later lines, of a life that ended, are removed first. evaluated: whether the validation of that step, if due, is
    done.
    """

    def __init__(self, folder: Path, step: int, phase: int, *, evaluated: bool = True) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        for name in LOGS:
            _keep_until(folder / name, step if evaluated or name != VALIDATION else step - 1, phase)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._wandb: Any = None

    def open_wandb(self, project: str, config: Mapping[str, Any]) -> None:
        """Sends the numbers from now on to a project of Weights & Biases as well; a run folder is always the same run.

        Raises UserError if wandb is not installed.
        """
        try:
            import wandb
        except ImportError as error:
            raise UserError(f"log.wandb: {project!r}: wandb cannot be imported ({error}): pip install wandb") from error
        self._wandb = wandb.init(
            project=project,
            id=f"{stable_hash('wandb', str(self._folder.resolve())):016x}",
            resume="allow",
            dir=str(self._folder),
            name=self._folder.name,
            config=dict(config),
        )

    def write(self, name: str, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line to the file `name`, and its numbers to the boards under the file's stem."""
        line = json.dumps({"step": step, **values}, ensure_ascii=False, allow_nan=False)
        with open(self._folder / name, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        numbers = _numbers(values, name.removesuffix(".jsonl"))
        for tag, number in numbers:
            self._board.add_scalar(tag, number, step)
        if self._wandb is not None:
            self._wandb.log(dict(numbers), step=step)

    def sync(self) -> None:
        """Returns when every line so far is on disk."""
        for path in (self._folder / name for name in LOGS):
            if path.is_file():
                with open(path, "rb") as stream:
                    os.fsync(stream.fileno())

    def show(self, name: str, step: int, path: Path) -> None:
        """Puts a picture, written at `path`, on the boards."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            self._board.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Image(str(path))}, step=step)

    def close(self) -> None:
        """Writes out what the boards have not yet."""
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a JSON lines file; a last line that was cut short is left out. [] if there is none.

    Raises RunError for a file that is damaged.
    """
    return [values for _, values in _lines(path)]


def _keep_until(path: Path, step: int, phase: int) -> None:
    if not path.is_file():
        return

    kept = [
        line + b"\n" for line, values in _lines(path) if values["step"] <= step and values.get("phase", phase) <= phase
    ]
    if (data := b"".join(kept)) != path.read_bytes():
        write_bytes(path, data)


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Returns the whole lines of a log, as they are and as they read."""
    found = []
    whole = path.read_bytes().rpartition(b"\n")[0] if path.is_file() else b""
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            values = json.loads(line)
            if not (isinstance(values, dict) and isinstance(values.get("step"), int)):
                raise ValueError("expected an object with its step")
        except ValueError as error:
            raise RunError(
                f"{path}: line {number} is damaged; restore the file, or move it away: the run goes on without what it "
                f"had written"
            ) from error
        found.append((line, values))
    return found


def _numbers(values: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.extend(_numbers(value, f"{prefix}/{name}"))
        elif isinstance(value, int | float):
            found.append((f"{prefix}/{name}", float(value)))
    return found
