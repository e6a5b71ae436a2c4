"""`omnigen convert`: write a network in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnigen.commands.progress import progress
from omnigen.weights.options import Conversion
from x2i.command_options import with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omnigen.weights.lora.delta import Adapter

Out = Annotated[Path, typer.Argument(help="The folder to make; it must not exist yet.")]


@with_options
def command(
    source: Annotated[
        Path,
        typer.Argument(
            help="A model folder of ours, a training run's folder, the published OmniGen-v1 folder, a diffusers "
            "pipeline or transformer folder, or a Phi-3 language model to begin from."
        ),
    ],
    out: Out,
    conversion: Conversion,
    lora: Annotated[list[Path] | None, typer.Option(help="An adapter to merge into the weights; repeatable.")] = None,
) -> None:
    """Write a network in another layout. Values are kept bit for bit; the folder appears when it is complete.

    Tensors go past one at a time, so the whole network need not fit in memory. The layout of SOURCE is detected:

        omnigen convert OmniGen-v1 models/omnigen --to ours

        omnigen convert runs/mine models/mine --to diffusers --dtype bf16

        omnigen convert Phi-3-mini-128k-instruct models/start --to ours
    """
    from omnigen.weights.lora.files import read_adapters

    write_converted(source, out, conversion, read_adapters(lora or []))


def write_converted(source: Path, out: Path, conversion: Conversion, adapters: Sequence[Adapter]) -> None:
    """Converts, shows progress, and prints what was written."""
    from omnigen.generate.find_model import find_model
    from omnigen.weights.convert import convert

    with progress("writing") as advance:
        written = convert(find_model(source), out, conversion, adapters, advance)
    for note in written.notes:
        typer.echo(f"note: {note}", err=True)
    gigabytes = written.num_bytes / 1e9
    typer.echo(
        f"{out}: {written.layout} layout (from {written.source_layout}), {written.num_parameters:,} parameters, "
        f"{gigabytes:.2f} GB of weights, {len(written.files)} files"
    )
