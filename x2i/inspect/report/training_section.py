"""What the report's section on a training run shows: did the model learn, how did the loss fall, what does it draw."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from x2i.inspect.formatting import describe_number, task_title
from x2i.inspect.report.training import TrainingRun
from x2i.inspect.svg import Bar, Curve, smoothed

SMOOTHING = 20  # records at most, a sixth of a short run

LossTable = tuple[str, list[str], list[tuple[str, list[float | None]]]]
"""Title, names of the predictors, and a row per task or timestep: its name and the loss of each predictor."""


def training_values(run: TrainingRun) -> dict[str, Any]:
    """Returns the values of templates/training.html, beside the run itself."""
    numbers = {name: value for name, value in run.facts.items() if isinstance(value, int | float)}
    window = max(1, min(SMOOTHING, len(run.curve) // 6))
    return {
        "run_facts": ", ".join(f"{describe_number(value)} {name.replace('_', ' ')}" for name, value in numbers.items()),
        "loss_bars": list(_loss_bars(run)),
        "window": window,
        "curves": [curve for curve in _curves(run, window) if curve.points],
        "levels": {"predicting the mean": run.mean_predictor.loss} if run.mean_predictor is not None else {},
        "loss_tables": list(_loss_tables(run)),
        "picture": base64.b64encode(run.picture.read_bytes()).decode() if run.picture is not None else None,
    }


def _loss_bars(run: TrainingRun) -> Iterator[Bar]:
    """Yields the three losses that tell whether anything was learnt, side by side."""
    found = (
        ("untrained model", run.untrained, "failed"),
        ("predicting the mean", run.mean_predictor, "filtered"),
        ("trained model", run.trained, "ok"),
    )
    for name, losses, kind in found:
        if losses is not None:
            yield Bar(name, ((losses.loss, kind),), f"{losses.loss:.4f}")


def _curves(run: TrainingRun, window: int) -> Iterator[Curve]:
    yield Curve("training loss", tuple((float(x), y) for x, y in run.curve), "raw")
    yield Curve("training loss, running mean", smoothed(run.curve, window), "smooth")
    yield Curve("validation loss", tuple((float(x), y) for x, y in run.validation), "validation")


def _loss_tables(run: TrainingRun) -> Iterator[LossTable]:
    predictors = {"untrained": run.untrained, "mean": run.mean_predictor, "trained": run.trained}
    known = {name: losses for name, losses in predictors.items() if losses is not None}
    by_task = {name: {task_title(task): loss for task, loss in losses.tasks.items()} for name, losses in known.items()}
    yield from _loss_table("by task", by_task)
    timesteps = {name: losses.timesteps for name, losses in known.items()}
    yield from _loss_table("by timestep t (0 noise, 1 picture)", timesteps)


def _loss_table(title: str, losses: Mapping[str, Mapping[str, float]]) -> Iterator[LossTable]:
    names = list(dict.fromkeys(name for found in losses.values() for name in found))
    if names:
        yield title, list(losses), [(name, [found.get(name) for found in losses.values()]) for name in names]
