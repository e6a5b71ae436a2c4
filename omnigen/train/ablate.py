"""Comparisons of trainings that differ in one thing: each arm is a run, what it came to is one line of a table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import Field

from omnigen.train.run import train
from omnigen.train.run_folder import RunFolder
from x2i.errors import UserError
from x2i.settings import load_settings
from x2i.store.files.atomic import write_bytes, write_json


@dataclass(frozen=True)
class Comparison:
    """A question, and trainings that answer it.

    arms: by name, the settings ("section.key") in which they differ. common: settings of all its arms, instead of the
    file's. better: the arm for which the paper speaks. measure: of the held-out samples, less is better: their loss or
    copy_rate, or its mean over the tasks in `tasks`. needs: a checkpoint that the command must be given, for arms with
    the value "PHI3".
    """

    name: str
    question: str
    arms: dict[str, dict[str, Any]]
    better: str
    common: dict[str, Any] = field(default_factory=dict)
    measure: Literal["loss", "copy_rate"] = "loss"
    tasks: tuple[str, ...] = ()
    needs: Literal["phi3"] | None = None


@dataclass(frozen=True)
class Ablations:
    """A file of comparisons. base: a training configuration, relative to this file. common: settings of every run.
    seeds: how many runs each arm has.
    """

    base: str
    comparisons: tuple[Comparison, ...]
    common: dict[str, Any] = field(default_factory=dict)
    seeds: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True)
class Outcome:
    """What an arm came to, one value for each seed."""

    comparison: Comparison
    arm: str
    values: tuple[float, ...]


def ablate(path: Path, out: Path, overrides: list[str], only: list[str], phi3: Path | None) -> list[Outcome]:
    """Trains every arm of the comparisons in `path` (those named in `only`, if any) below `out`, and writes the table.

    Runs that are done are kept, one that was stopped goes on. Raises UserError for whatever the user can mend.
    """
    ablations = load_settings(Ablations, path)
    chosen = [comparison for comparison in ablations.comparisons if not only or comparison.name in only]
    names = [comparison.name for comparison in ablations.comparisons]
    if unknown := [name for name in only if name not in names]:
        raise UserError(f"--only {', '.join(unknown)}: no such comparison in {path}; it has {', '.join(names)}")
    for comparison in chosen:
        if comparison.better not in comparison.arms:
            raise UserError(f"{path}: {comparison.name}: better: {comparison.better!r} is not one of its arms")
    done: list[Outcome] = []
    runs: dict[str, Path] = {}
    for comparison in chosen:
        if comparison.needs == "phi3" and phi3 is None:
            typer.echo(f"{comparison.name}: left out, since it needs a Phi-3 checkpoint: --phi3 FOLDER")
            continue
        for arm, settings in comparison.arms.items():
            values = []
            for seed in range(ablations.seeds):
                changes = {**ablations.common, **comparison.common, **settings, "train.seed": seed}
                given = [f"{name}={json.dumps(_value(value, phi3))}" for name, value in changes.items()] + overrides
                identity = json.dumps(given)  # an arm that several comparisons share is trained once
                run = runs.setdefault(identity, out / comparison.name.replace(" ", "-") / f"{arm}-{seed}")
                typer.echo(f"== {comparison.name}: {arm}, seed {seed}")
                train(path.parent / ablations.base, given, "auto", run)
                values.append(measured(json.loads(RunFolder(run).summary.read_text()), comparison, run))
            done.append(Outcome(comparison, arm, tuple(values)))
    write_json(
        out / "ablations.json",
        {"outcomes": [{"comparison": o.comparison.name, "arm": o.arm, "values": o.values} for o in done]},
    )
    write_bytes(out / "ablations.md", table(done).encode())
    return done


def measured(summary: Mapping[str, Any], comparison: Comparison, run: Path) -> float:
    """Returns what a run's summary says of the comparison's measure."""
    trained = (summary["validation"] or {}).get("trained")
    if trained is None:
        raise UserError(f"{run}: has no validation; set data.validation_fraction above 0")
    copying = comparison.measure == "copy_rate"
    if copying and trained["copy_rate"] is None:
        raise UserError(f"{run}: no held-out sample is an edit, so nothing can be said of copying")
    by_task = trained["copy_rates" if copying else "tasks"]
    if missing := [task for task in comparison.tasks if task not in by_task]:
        raise UserError(f"{run}: {comparison.name}: no held-out sample of {', '.join(missing)}")
    if comparison.tasks:
        return statistics.fmean(by_task[task] for task in comparison.tasks)
    return float(trained[comparison.measure])


def table(outcomes: list[Outcome]) -> str:
    """Returns the outcomes as Markdown, each comparison with what the paper leads one to expect."""
    lines = ["| comparison | measure | arm | value | spread over seeds |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        comparison = outcome.comparison
        measure = comparison.measure + (f" of {', '.join(comparison.tasks)}" if comparison.tasks else "")
        spread = f"{max(outcome.values) - min(outcome.values):.4f}" if len(outcome.values) > 1 else ""
        value = f"{statistics.fmean(outcome.values):.4f}"
        lines.append(f"| {comparison.name} | {measure} | {outcome.arm} | {value} | {spread} |")
    return "\n".join([*lines, "", *_verdicts(outcomes), ""])


def _verdicts(outcomes: list[Outcome]) -> Iterator[str]:
    for comparison in {outcome.comparison.name: outcome.comparison for outcome in outcomes}.values():
        means = {o.arm: statistics.fmean(o.values) for o in outcomes if o.comparison.name == comparison.name}
        best = min(means, key=means.__getitem__)
        agrees = "as the paper found" if best == comparison.better else f"the paper found {comparison.better} better"
        yield f"- {comparison.question} {best} is better here; {agrees}."


def _value(value: Any, phi3: Path | None) -> Any:
    return str(phi3.resolve()) if value == "PHI3" and phi3 is not None else value
