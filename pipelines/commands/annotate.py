"""`x2i annotate`: runs any annotation by its name."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.annotation_command import annotation_command
from pipelines.named_command import NAMED, named_command, run_named


def command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The annotation: see `x2i list annotations`, or mypackage.module:Class.")],
) -> None:
    """Run the annotation NAME on a dataset; its options depend on NAME.

    x2i annotate depth my-dataset --model hf:depth-anything/Depth-Anything-V2-Small-hf

    x2i annotate depth --help
    """
    command = named_command(annotation_command(name), "reference/annotations.md")
    run_named(command, context, f"x2i annotate {name}")


CONTEXT = NAMED
