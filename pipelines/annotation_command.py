"""Commands made of annotations: `x2i caption`, `x2i detect`, ... and `x2i annotate NAME` share this one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from pipelines.engine.options import DatasetArgument, RunOptions
from x2i.annotate import ANNOTATIONS
from x2i.annotate.base import Annotation, ModelAnnotation
from x2i.command_options import with_options

ColumnOption = Annotated[
    str, typer.Option("--column", help="Name of the column to write. Default: the annotation's own.", metavar="NAME")
]


def annotation_command(name: str) -> Callable[..., None]:
    """Returns the command that runs annotation `name`: its options are the flags, its docstring is the help."""
    kind = ANNOTATIONS.get(name)

    def command(dataset: DatasetArgument, annotation: Annotation, run: RunOptions, column: ColumnOption = "") -> None:
        run_annotations([(annotation, column)], dataset, run)

    command.__doc__ = (
        f"{kind.__doc__}\n\n    Writes the column `{kind.name}`, or the one that --column names."
        f"\n\n    x2i {kind.command()} my-dataset"
    )
    command.__annotations__["annotation"] = kind
    return with_options(command)


def run_annotations(wanted: Sequence[tuple[Annotation, str]], dataset: DatasetArgument, run: RunOptions) -> None:
    """Runs annotations side by side; wanted: each with the name of its column, "" for its own."""
    from pipelines.engine.run import run_stages
    from pipelines.stages.annotate import AnnotateStage
    from x2i.store import Dataset

    for annotation, _ in wanted:
        if isinstance(annotation, ModelAnnotation):
            annotation.backends()  # faulty names are told before anything is opened
    run_stages([AnnotateStage(annotation, column) for annotation, column in wanted], Dataset.open(dataset), run)
