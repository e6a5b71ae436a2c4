"""`omnigen encode`: cache latents and token ids beside shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from omnigen.cache.options import EncodeOptions
from omnigen.commands.progress import progress
from x2i.command_options import with_options


@with_options
def command(
    shards: Annotated[list[Path], typer.Argument(help="Dataset folders, or folders of training shards.")],
    options: EncodeOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")] = False,
) -> None:
    """Cache the latents and token ids of shards beside them: training then decodes, encodes and tokenizes nothing.

    omnigen encode data --codec sdxl:vae --side 256
    """
    from omnigen.cache.encode import encode, report

    with progress("encoding") as advance:
        summary = encode(shards, options, advance)
    typer.echo(json.dumps(summary, indent=2, sort_keys=True) if as_json else report(summary))
