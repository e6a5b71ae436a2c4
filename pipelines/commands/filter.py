"""`x2i filter`: scores every image; drops none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.annotation_command import run_annotations
from pipelines.engine.options import DatasetArgument, RunOptions
from x2i.annotate import ANNOTATIONS
from x2i.command_options import with_options
from x2i.errors import UserError
from x2i.settings import apply_overrides, from_mapping


@with_options
def command(
    dataset: DatasetArgument,
    run: RunOptions,
    scores: Annotated[
        list[str] | None,
        typer.Option("--score", help="A score to compute, or mypackage.module:Class; may be repeated.", metavar="NAME"),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="An option of a score, as score.option=value; may be repeated.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the histogram of each score, with pictures around any threshold, to this .html file."),
    ] = None,
) -> None:
    """Score every image. Each score becomes a column of its name; scores that are there are not computed again.

    Nothing is dropped here. Cuts are made later, when shards are materialized, by an SQL selection such as
    "quality.min_side >= 512 AND quality.sharpness > 50", so they can be moved without scoring again.
    `x2i list scores` shows what there is; without --score those are made that need no model. --report writes a page
    with all scores of the dataset, in which thresholds are moved and what lies on both sides is looked at.

    x2i filter my-dataset --report scores.html

    x2i filter my-dataset --score quality --score image_text --set image_text.text=captions
    """
    kinds = [ANNOTATIONS.get(name) for name in scores or ANNOTATIONS]
    if not scores:
        kinds = [kind for kind in kinds if kind.made_by == "filter" and kind.by_default]
    settings = apply_overrides({}, overrides or ())
    unknown = sorted(set(settings) - {kind.name for kind in kinds})
    if unknown:
        raise UserError(f"--set {unknown[0]}...: expected score.option=value of {', '.join(k.name for k in kinds)}")
    wanted = [from_mapping(kind, settings.get(kind.name, {}), kind.name) for kind in kinds]
    run_annotations([(annotation, "") for annotation in wanted], dataset, run)
    if report is not None and not run.dry_run:
        from x2i.inspect.scores.page import write_scores_page
        from x2i.store import Dataset

        write_scores_page(Dataset.open(dataset), report)
        typer.echo(f"scores: {report}", err=run.json)
