"""`x2i annotate`: runs any annotation by its name."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.annotation_command import annotation_command


def command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The annotation: see `x2i list annotations`, or mypackage.module:Class.")],
) -> None:
    """Run the annotation NAME on a dataset; its options depend on NAME.

    x2i annotate depth my-dataset --model hf:depth-anything/Depth-Anything-V2-Small-hf

    x2i annotate depth --help
    """
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    app.command()(annotation_command(name))
    raise typer.Exit(app(args=context.args, prog_name=f"x2i annotate {name}", standalone_mode=False) or 0)


CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
