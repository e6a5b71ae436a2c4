"""`omnigen ablate`: train pairs of networks that differ in one setting, and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnigen.configurations import find_configuration


def command(
    file: Annotated[Path, typer.Argument(help="YAML file of comparisons, or the name of one of ours: ablations.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table; run again, it continues.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Replace one setting in every run, as section.key=value.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a comparison to make; repeat. Default: all.")] = None,
    phi3: Annotated[Path | None, typer.Option(help="A Phi-3 checkpoint, for comparisons that begin from one.")] = None,
) -> None:
    """Train pairs of networks that differ in one setting, and compare their losses on held-out samples.

    omnigen ablate ablation.yaml --out runs/ablation
    """
    from omnigen.train.ablate import ablate, table

    typer.echo(table(ablate(find_configuration(file), out, set_ or [], only or [], phi3)))
