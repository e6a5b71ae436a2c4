"""`omnigen train`: train on shards as a configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnigen.configurations import find_configuration


def command(
    config: Annotated[Path, typer.Argument(help="YAML file of the run, or the name of one of ours, such as tiny.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace one value of the file, as section.key=value; may be repeated."),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(
            help="auto: continue where this run stopped; never: refuse to; or the path of a run or checkpoint."
        ),
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/<name of CONFIG>.")] = None,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Print the memory that the run takes and the devices it fits; do nothing."),
    ] = False,
) -> None:
    """Train on shards as CONFIG says; run the same command again to resume.

    On several GPUs: torchrun --nproc-per-node 8 -m omnigen.cli train CONFIG --set parallel.mode=fsdp
    """
    from omnigen.train.run import estimate as estimate_run
    from omnigen.train.run import train

    config = find_configuration(config)
    if estimate:
        typer.echo(estimate_run(config, set_ or []))
        return
    train(config, set_ or [], resume, out)
