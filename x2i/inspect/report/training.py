"""What a training run left behind, read from its files: losses, their references, curves, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from x2i.errors import UserError


@dataclass(frozen=True)
class Losses:
    """Validation loss of one predictor: over everything, by task, by interval of the timestep."""

    loss: float
    tasks: Mapping[str, float]
    timesteps: Mapping[str, float]


@dataclass(frozen=True)
class TrainingRun:
    """A run as far as it got. curve and validation: (step, loss). The Losses are None where the run wrote none."""

    folder: str
    steps: int
    curve: tuple[tuple[int, float], ...]
    validation: tuple[tuple[int, float], ...]
    untrained: Losses | None
    mean_predictor: Losses | None
    trained: Losses | None
    picture: Path | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    finished: bool = False


def read_run(folder: Path) -> TrainingRun:
    """Reads metrics.jsonl, validation.jsonl, summary.json and samples/*.png of a run folder.

    Raises UserError if `folder` is not a run.
    """
    metrics = _lines(folder / "metrics.jsonl")
    validation = _lines(folder / "validation.jsonl")
    if not metrics and not validation:
        raise UserError(f"{folder}: not a training run: expected metrics.jsonl or validation.jsonl in it")
    summary_file = folder / "summary.json"
    summary = json.loads(summary_file.read_bytes()) if summary_file.exists() else {}
    first = next((line for line in validation if line["step"] == 0), {})
    pictures = sorted((folder / "samples").glob("*.png"))
    facts = ("parameters", "training_samples", "held_out_samples", "samples", "target_tokens", "tokens", "omnigen")
    return TrainingRun(
        folder=str(folder),
        steps=max(line["step"] for line in [*metrics, *validation]),
        curve=_curve(metrics),
        validation=_curve(validation),
        untrained=_losses(first),
        mean_predictor=_losses(first.get("mean_predictor")),
        trained=_losses(validation[-1]) if validation and validation[-1]["step"] > 0 else None,
        picture=pictures[-1] if pictures else None,
        facts={name: summary[name] for name in facts if summary.get(name) is not None},
        finished=bool(summary),
    )


def _curve(lines: list[dict[str, Any]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(line["step"]), float(line["loss"])) for line in lines if line.get("loss") is not None)


def _losses(document: Mapping[str, Any] | None) -> Losses | None:
    if not document or document.get("loss") is None:
        return None
    tasks, timesteps = document.get("tasks") or {}, document.get("timesteps") or {}
    return Losses(
        float(document["loss"]),
        {name: float(value) for name, value in tasks.items() if value is not None},
        {name: float(value) for name, value in timesteps.items() if value is not None},
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a JSON lines file; the last may be half written while the run goes on."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line]
