"""`omnigen merge`: add an adapter to a network's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnigen.commands.convert import Out, write_converted
from omnigen.weights.options import Conversion, WriteOptions
from x2i.command_options import with_options

Model = Annotated[Path, typer.Argument(help="A folder with a network in any layout, or of a training run.")]
AdapterFolder = Annotated[Path, typer.Argument(help="An adapter's folder: adapter_config.json and its safetensors.")]
Scale = Annotated[float, typer.Option(help="How much of the adapter: 1 is all of it.")]


@with_options
def command(
    model: Model,
    adapter: AdapterFolder,
    out: Out,
    options: WriteOptions,
    scale: Scale = 1.0,
    any_base: Annotated[
        bool, typer.Option("--any-base", help="Merge into other weights than it was trained beside.")
    ] = False,
) -> None:
    """Add a LoRA adapter to a network's weights: the result needs no adapter and generates the same images.

    omnigen merge models/omnigen runs/style/adapter models/style
    """
    write_merged(model, adapter, out, options, scale, any_base)


def write_merged(model: Path, adapter: Path, out: Path, options: WriteOptions, scale: float, any_base: bool) -> None:
    """Writes the network with `scale` times the adapter added to its weights."""
    from omnigen.weights.lora.files import read_adapters

    conversion = Conversion(options.layout, options.dtype, options.max_shard_size)
    write_converted(model, out, conversion, read_adapters([adapter], scale, any_base))
