"""The report for a terminal: the funnel as bars, reasons, samples per task, holes, and what training came to."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from x2i.counting import counted
from x2i.inspect.formatting import describe_bytes, describe_number, share
from x2i.inspect.report.funnel import Funnel, RecipeSteps
from x2i.inspect.report.training import TrainingRun
from x2i.store.commits import Counts

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

BAR, LABEL = 30, 34
OUTDATED = "Made from inputs that have changed since"


def report_text(funnel: Funnel, run: TrainingRun | None) -> RenderableType:
    """Returns the whole report as something that rich prints."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{funnel.name}  {funnel.path}", style="bold"), Text("")]
    parts += [*_images(funnel), Text("")]
    if funnel.recipes:
        parts += [*_recipes(funnel), Text("")]
    if funnel.holes:
        parts += [_heading("Not there")] + [Text(f"  {hole}", style="yellow") for hole in funnel.holes] + [Text("")]
    if funnel.outdated:
        stale = [Text(f"  {stage}", style="yellow") for stage in funnel.outdated]
        parts += [_heading(OUTDATED), *stale, Text("")]
    if funnel.failures:
        failed = ", ".join(f"{stage} {count}" for stage, count in funnel.failures.items())
        parts += [Text(f"Partitions that failed and were not finished since: {failed}", style="red"), Text("")]
    if run is not None:
        parts += _training(run)
    return Group(*parts)


def _images(funnel: Funnel) -> Iterator[Text]:
    yield _heading("Images")
    whole = funnel.attempted
    yield _bar("attempted", whole, whole, "")
    for step in funnel.steps:
        note = describe_losses(step.counts)
        yield _bar(step.title, step.counts.ok, whole, note)
    for name, rows in funnel.relations.items():
        yield _bar(name.replace("_", " "), rows, max(whole, rows), "")


def _recipes(funnel: Funnel) -> Iterator[Text]:
    size = sum(task.bytes for task in funnel.tasks)
    yield _heading(f"Samples: {funnel.samples:,} of {counted(len(funnel.tasks), 'tasks')}, {describe_bytes(size)}")
    whole = max((recipe.counts.ok for recipe in funnel.recipes), default=0)
    for recipe in funnel.recipes:
        yield _bar(recipe.recipe, recipe.counts.ok, whole, _recipe_note(recipe))


def _recipe_note(recipe: RecipeSteps) -> str:
    """What a recipe started from and lost, as one line."""
    parts = []
    if recipe.candidates is not None:
        left_out = ", ".join(f"{name} {count:,}" for name, count in recipe.not_selected.items())
        parts.append(counted(recipe.candidates, "candidates") + (f", not selected: {left_out}" if left_out else ""))
    losses = describe_losses(recipe.counts)
    return "; ".join([*parts, losses] if losses else parts)


def describe_losses(counts: Counts) -> str:
    """Returns "filtered duplicate 2; failed timeout 1", "" if nothing was lost."""
    parts = []
    for label, reasons in (("filtered", counts.filtered), ("failed", counts.failed)):
        shown = sorted(((count, reason) for reason, count in reasons.items() if count), reverse=True)
        if shown:
            parts.append(f"{label} {', '.join(f'{reason} {count:,}' for count, reason in shown)}")
    return "; ".join(parts)


def _training(run: TrainingRun) -> Iterator[Text]:
    from rich.text import Text

    yield _heading(f"Training: {counted(run.steps, 'steps')}" + ("" if run.finished else ", not finished"))
    losses = {"untrained model": run.untrained, "predicting the mean": run.mean_predictor, "trained model": run.trained}
    known = {name: found.loss for name, found in losses.items() if found is not None}
    for name, loss in known.items():
        yield _bar(name, loss, max(known.values()), "validation loss at fixed noise" if name == "trained model" else "")
    if run.picture is not None:
        yield Text(f"  pictures: {run.picture}")


def _bar(label: str, value: float, whole: float, note: str) -> Text:
    from rich.text import Text

    filled = value / whole * BAR if whole else 0.0
    cells = "█" * int(filled) + ("▌" if filled % 1 >= 0.5 else "")
    *above, last = wrap(label, LABEL) or [label]
    line = Text("".join(f"  {part}\n" for part in above) + f"  {last:<{LABEL}} ", overflow="fold")
    line.append(f"{cells:<{BAR}}", style="cyan")
    line.append(f" {describe_number(value):>8}")
    if isinstance(value, int) and isinstance(whole, int) and whole and value != whole:
        line.append(f" {share(value, whole):>5}", style="dim")
    for part in note.split("; ") if note else ():
        line.append(f"\n{'':{LABEL + 3}}{part}", style="dim")
    return line


def _heading(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="bold")
