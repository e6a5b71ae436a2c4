"""The report's section on a training run: did the model learn, how did the loss fall, what does it draw."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

from x2i.inspect.formatting import describe_number, task_title
from x2i.inspect.report.training import Losses, TrainingRun
from x2i.inspect.svg import Bar, Curve, bar_chart, curve_plot, smoothed

SMOOTHING = 20  # records at most, a sixth of a short run


def training_section(run: TrainingRun) -> str:
    """Returns the section as HTML."""
    state = f"{run.steps:,} steps" if run.finished else f"{run.steps:,} steps so far; the run has not finished"
    facts = ", ".join(f"{describe_number(value)} {name.replace('_', ' ')}" for name, value in _numbers(run).items())
    parts = [f"<p>{escape(state)}; {escape(facts)}. Run folder: <code>{escape(run.folder)}</code></p>"]
    parts.append(_verdict(run))
    if run.curve or run.validation:
        parts.append(_curves(run))
    tables = [_table("by task", run, "tasks"), _table("by timestep t (0 noise, 1 picture)", run, "timesteps")]
    parts.append(f'<div class="columns">{"".join(tables)}</div>')
    if run.picture is not None:
        data = base64.b64encode(run.picture.read_bytes()).decode()
        step = escape(run.picture.stem)
        parts.append(f'<h3 class="plot">What it draws <small>{step}</small></h3>')
        parts.append(f'<img class="picture" alt="Samples drawn by the model" src="data:image/png;base64,{data}">')
    return f"<section><h2>Training</h2>{''.join(parts)}</section>"


def _verdict(run: TrainingRun) -> str:
    """The three losses that tell whether anything was learnt, side by side."""
    found = {"untrained model": run.untrained, "predicting the mean": run.mean_predictor, "trained model": run.trained}
    kinds = {"untrained model": "failed", "predicting the mean": "filtered", "trained model": "ok"}
    bars = [
        Bar(name, ((losses.loss, kinds[name]),), f"{losses.loss:.4f}")
        for name, losses in found.items()
        if losses is not None
    ]
    if not bars:
        return "<p>No validation loss was recorded.</p>"
    note = "velocity error on held-out samples, always with the same noise and timesteps"
    heading = f"<h3>Validation loss <small>{note}</small></h3>"
    return f'<div class="plot">{heading}{bar_chart(bars, 760, 180, "Validation loss")}</div>'


def _curves(run: TrainingRun) -> str:
    window = max(1, min(SMOOTHING, len(run.curve) // 6))
    curves = [
        Curve("training loss", tuple((float(x), y) for x, y in run.curve), "raw"),
        Curve("training loss, running mean", smoothed(run.curve, window), "smooth"),
        Curve("validation loss", tuple((float(x), y) for x, y in run.validation), "validation"),
    ]
    levels = {"predicting the mean": run.mean_predictor.loss} if run.mean_predictor is not None else {}
    legend = (
        '<div class="legend"><span style="--swatch:var(--accent)">training loss, thin, and its mean over '
        f'{window} records</span><span style="--swatch:var(--failed)">validation loss</span></div>'
    )
    return f'<div class="plot">{legend}{curve_plot([c for c in curves if c.points], levels, 1040, 320)}</div>'


def _table(title: str, run: TrainingRun, kind: str) -> str:
    """A table of losses by task or timestep: untrained, mean predictor, trained."""
    columns = {"untrained": run.untrained, "mean": run.mean_predictor, "trained": run.trained}
    values = {name: _by(losses, kind) for name, losses in columns.items() if losses is not None}
    names = list(dict.fromkeys(name for found in values.values() for name in found))
    if not names:
        return ""
    head = "".join(f'<th class="n">{name}</th>' for name in values)
    rows = []
    for name in names:
        cells = "".join(f'<td class="n">{_loss(found.get(name))}</td>' for found in values.values())
        rows.append(f"<tr><td>{escape(task_title(name) if kind == 'tasks' else name)}</td>{cells}</tr>")
    table = f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    return f'<div><h3>Validation loss {escape(title)}</h3><div class="table">{table}</div></div>'


def _by(losses: Losses, kind: str) -> Mapping[str, float]:
    return losses.tasks if kind == "tasks" else losses.timesteps


def _loss(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else ""


def _numbers(run: TrainingRun) -> dict[str, float]:
    return {name: value for name, value in run.facts.items() if isinstance(value, int | float)}
