"""`x2i import`: public datasets, in the format their authors ship, become images or training shards."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipelines.engine.options import OutOption, RunOptions, StorePath
from pipelines.named_command import NAMED, named_command, run_named
from x2i.command_options import with_options
from x2i.errors import RunError, UserError
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
    run_named(named_command(import_command(name, makes), "reference/importers.md"), context, f"x2i import {name}")


CONTEXT = NAMED


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
        if run.dry_run:
            return
        counts = stage.counts(dataset)
        if counts.failed and not counts.ok:
            raise RunError(f"{path}: nothing was imported of {counts.total:,} records: the lines above say why")

    command.__doc__ = f"{inspect.cleandoc(kind.__doc__ or '')}\n\nx2i import {name} SOURCE --out my-dataset"
    command.__annotations__ |= {"importer": kind, "output": output_kind}
    return with_options(command)
