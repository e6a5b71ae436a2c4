"""`x2i import`: public datasets, in the format their authors ship, become images or training shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipelines.engine.options import OutOption, RunOptions, StorePath
from x2i.command_options import with_options
from x2i.errors import UserError
from x2i.importers import IMPORTERS, Importer
from x2i.store.files.remote import dataset_path

PathArgument = Annotated[
    StorePath, typer.Argument(parser=dataset_path, metavar="PATH", help="The dataset to read: a file or a folder.")
]
LabelOption = Annotated[
    str, typer.Option(help="Name of this import, where a dataset gets several. Default: that of the file or folder.")
]


def command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The importer: see `x2i list importers`, or mypackage.module:Class.")],
    makes: Annotated[
        str, typer.Option("--as", metavar="images|shards", help="What to make, if the importer makes both.")
    ] = "",
) -> None:
    """Read a public dataset in the format NAME into images or training shards; its options depend on NAME.

    x2i import hf-images flowers/ --out data

    x2i import x2i-jsonl anno.jsonl --images pictures --strip-prefix /share/author/ --task edit --out data

    x2i import hf-images --help
    """
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    app.command()(import_command(name, makes))
    # Without standalone mode, typer returns the exit status of the inner command.
    raise typer.Exit(app(args=context.args, prog_name=f"x2i import {name}", standalone_mode=False) or 0)


CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def import_command(name: str, makes: str = "") -> Callable[..., None]:
    """Returns the command of one importer: its options and those of what it makes are the flags."""
    from pipelines.stages.imports import output_of

    kind = IMPORTERS.get(name)
    stage_kind, output_kind = output_of(kind, makes)

    def command(
        path: PathArgument, out: OutOption, importer: Importer, output: Any, run: RunOptions, label: LabelOption = ""
    ) -> None:
        from pipelines.engine.run import dataset_for_ingest, run_stages

        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        importer.root(path)  # a wrong --images is told before anything is made
        stage = stage_kind(importer, str(path.absolute()), label, output)
        dataset = dataset_for_ingest(out, run)
        try:
            run_stages([stage], dataset, run)
        finally:
            for line in () if run.dry_run else stage.remarks(dataset):
                typer.echo(f"  {line}", err=True)

    command.__doc__ = kind.__doc__
    command.__annotations__ |= {"importer": kind, "output": output_kind}
    return with_options(command)
