"""The commands that turn model folders into others: `omnigen convert`, `omnigen merge`, `omnigen unmerge`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from omnigen.weights.convert import Conversion
    from omnigen.weights.lora.delta import Adapter

Dtype = Annotated[str, typer.Option(help="keep, fp32, bf16 or fp16: how to store the parameters.")]
ShardSize = Annotated[str, typer.Option(help="Largest file of weights, such as 5GB, 500MB or 2GiB.")]
Layout = Annotated[
    str | None, typer.Option("--to", help="ours, official or diffusers; default: the layout that MODEL has.")
]
Scale = Annotated[float, typer.Option(help="How much of the adapter: 1 is all of it.")]
Model = Annotated[Path, typer.Argument(help="A folder with a network in any layout, or of a training run.")]
AdapterFolder = Annotated[Path, typer.Argument(help="An adapter's folder: adapter_config.json and its safetensors.")]
Out = Annotated[Path, typer.Argument(help="The folder to make; it must not exist yet.")]


def convert_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="A model folder of ours, a training run's folder, the published OmniGen-v1 folder, a diffusers "
            "pipeline or transformer folder, or a Phi-3 language model to begin from."
        ),
    ],
    out: Out,
    to: Annotated[
        str,
        typer.Option(
            help="Layout to write: ours (what this project trains and draws from), official (the OmniGen authors' "
            "code reads it) or diffusers (OmniGenPipeline reads it)."
        ),
    ],
    dtype: Dtype = "keep",
    max_shard_size: ShardSize = "5GB",
    lora: Annotated[list[Path] | None, typer.Option(help="An adapter to merge into the weights; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Of the new layers around a Phi-3's decoder.")] = 0,
    codec: Annotated[
        str,
        typer.Option(
            help="For a Phi-3 alone: the codec to train with, dct:48 or sdxl:FOLDER; default: SDXL's VAE in OUT/vae."
        ),
    ] = "",
) -> None:
    """Write a network in another layout. Values are kept bit for bit; the folder appears when it is complete.

    Tensors go past one at a time, so the whole network need not fit in memory. What the source is, is seen by looking:

        omnigen convert OmniGen-v1 models/omnigen --to ours

        omnigen convert runs/mine models/mine --to diffusers --dtype bf16

        omnigen convert Phi-3-mini-128k-instruct models/start --to ours
    """
    from omnigen.weights.convert import Conversion
    from omnigen.weights.lora.files import read_adapters
    from omnigen.weights.writer import parse_size

    conversion = Conversion(to, dtype, parse_size(max_shard_size), seed, codec)
    _run(source, out, conversion, read_adapters(lora or []))


def merge_command(
    model: Model,
    adapter: AdapterFolder,
    out: Out,
    scale: Scale = 1.0,
    to: Layout = None,
    dtype: Dtype = "keep",
    max_shard_size: ShardSize = "5GB",
) -> None:
    """Add a LoRA adapter to a network's weights, for good: the result needs no adapter and draws what the two draw.

    omnigen merge models/omnigen runs/style/adapter models/style
    """
    _merge(model, adapter, out, scale, to, dtype, max_shard_size)


def unmerge_command(
    model: Model,
    adapter: AdapterFolder,
    out: Out,
    scale: Scale = 1.0,
    to: Layout = None,
    dtype: Dtype = "keep",
    max_shard_size: ShardSize = "5GB",
) -> None:
    """Take a merged LoRA adapter out of a network's weights again; they come back up to rounding.

    omnigen unmerge models/style runs/style/adapter models/omnigen-again
    """
    _merge(model, adapter, out, -scale, to, dtype, max_shard_size)


def _merge(model: Path, adapter: Path, out: Path, scale: float, to: str | None, dtype: str, shard_size: str) -> None:
    from omnigen.weights.convert import Conversion
    from omnigen.weights.lora.files import read_adapters
    from omnigen.weights.writer import parse_size

    _run(model, out, Conversion(to, dtype, parse_size(shard_size)), read_adapters([adapter], scale))


def _run(source: Path, out: Path, conversion: Conversion, adapters: list[Adapter]) -> None:
    from omnigen.generate.command import find_model
    from omnigen.weights.convert import convert

    with ExitStack() as open_bars:
        bars: list[Any] = []

        def on_bytes(done: int, total: int) -> None:
            """Opens the bar at the first tensor: a mistake is told without one."""
            if not bars:
                bar = typer.progressbar(length=total, label="writing", file=sys.stderr)
                bars.append(open_bars.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        written = convert(find_model(source), out, conversion, adapters, on_bytes)
    for note in written.notes:
        typer.echo(f"note: {note}", err=True)
    gigabytes = written.num_bytes / 1e9
    typer.echo(
        f"{out}: {written.layout} layout (from {written.source_layout}), {written.num_parameters:,} parameters, "
        f"{gigabytes:.2f} GB of weights, {len(written.files)} files"
    )
