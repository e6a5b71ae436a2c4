"""The `omnigen` command line: train a network on shards, encode them before, and draw pictures with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from omnigen.commands.weights import convert_command, merge_command, unmerge_command
from x2i.errors import UserError

app = typer.Typer(
    name="omnigen",
    help="Trains OmniGen, one network for every image task, on X2I shards, and draws pictures with it.\n\n"
    "    omnigen train config.yaml\n\n"
    "    omnigen encode data --codec sdxl:vae --side 256    (before training: once, instead of every epoch)\n\n"
    '    omnigen generate --model runs/demo --prompt "a cat on a wall" --out cat.png\n\n'
    '    omnigen generate --model runs/demo --image cat.png --prompt "<img><|image_1|></img> Make it snow." '
    "--out snow.png\n\n"
    "    omnigen convert OmniGen-v1 models/omnigen --to ours",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command("generate")
def generate_command(
    model: Annotated[Path, typer.Option(help="Folder of a training run, or a model folder.")],
    prompt: Annotated[
        str,
        typer.Option(help="What to draw. Put <img><|image_1|></img> where the first --image belongs, and so on."),
    ],
    out: Annotated[Path, typer.Option(help="Picture to write: .png, .jpg or .webp.")],
    image: Annotated[list[Path] | None, typer.Option(help="An input image; repeat for image 2, 3.")] = None,
    height: Annotated[
        int | None, typer.Option(help="Pixels, a multiple of 16. Default: the first image's, or the training size.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 16. Default: as for --height.")] = None,
    steps: Annotated[int, typer.Option(help="Steps from noise to picture; more is slower and finer.")] = 50,
    guidance: Annotated[float, typer.Option(help="How strongly to follow the words; 1 is plain, 2.5 usual.")] = 2.5,
    image_guidance: Annotated[
        float,
        typer.Option(
            help="How strongly to keep to the input images: 1.6 usual, 2 for edits; 0 leaves this branch out."
        ),
    ] = 1.6,
    lora: Annotated[
        list[Path] | None, typer.Option(help="A LoRA adapter's folder, in PEFT's layout; repeat to add several.")
    ] = None,
    lora_scale: Annotated[
        list[float] | None,
        typer.Option(help="How much of the adapter, 1 by default; once for all, or once for each --lora."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Another seed, another picture; the same seed, the same picture.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="Of the matrix products; auto is bf16 on a GPU.")
    ] = "auto",
) -> None:
    """Draw a picture from a prompt, and from input images if there are any."""
    from omnigen.generate.command import generate_picture, list_adapters

    with ExitStack() as open_bars:
        bars: list[Any] = []

        def on_step() -> None:
            """Opens the bar at the first step: a mistake in the arguments is told without one."""
            if not bars:
                bars.append(open_bars.enter_context(typer.progressbar(length=steps, label="drawing", file=sys.stderr)))
            bars[0].update(1)

        size = generate_picture(
            model,
            prompt,
            image or [],
            out,
            height=height,
            width=width,
            steps=steps,
            guidance=guidance,
            image_guidance=image_guidance or None,
            adapters=list_adapters(lora or [], lora_scale or []),
            seed=seed,
            device=device,
            precision=precision,
            on_step=on_step,
        )
    typer.echo(f"{out}: {size[0]} x {size[1]} pixels")


@app.command("train")
def train_command(
    config: Annotated[Path, typer.Argument(help="YAML file of the run; manifests/ holds examples.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace one value of the file, as section.key=value; may be repeated."),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(help="auto: go on where this run stopped; never: refuse to; or the path of a run or checkpoint."),
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/<name of CONFIG>.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the run takes and on which devices it fits; do nothing.")
    ] = False,
) -> None:
    """Train on shards as CONFIG says; run the same command again to resume.

    On several GPUs: torchrun --nproc-per-node 8 -m omnigen.cli train CONFIG --set parallel.mode=fsdp
    """
    from omnigen.train.command import plan as plan_run
    from omnigen.train.command import train

    if plan:
        typer.echo(plan_run(config, set_ or []))
        return
    train(config, set_ or [], resume, out)


@app.command("ablate")
def ablate_command(
    file: Annotated[Path, typer.Argument(help="YAML file of comparisons, such as manifests/train/ablations.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table; run again, it goes on.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Replace one setting in every run, as section.key=value.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a comparison to make; repeat. Default: all.")] = None,
    phi3: Annotated[Path | None, typer.Option(help="A Phi-3 checkpoint, for comparisons that begin from one.")] = None,
) -> None:
    """Train pairs of networks that differ in one thing, and say what difference it makes to held-out samples."""
    from omnigen.train.ablate import ablate, table

    typer.echo(table(ablate(file, out, set_ or [], only or [], phi3)))


app.command("convert")(convert_command)
app.command("merge")(merge_command)
app.command("unmerge")(unmerge_command)


@app.command("encode")
def encode_command(
    shards: Annotated[list[Path], typer.Argument(help="Dataset folders, or folders of training shards.")],
    codec: Annotated[
        str | None, typer.Option(help="Keep latents of dct, dct:CHANNELS or sdxl:FOLDER, as model.codec says it.")
    ] = None,
    side: Annotated[
        str | None, typer.Option(help="Longest side in pixels, as data.max_side; several with commas: 256,512.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Keep prompts of bytes or hf:FOLDER, as model.tokenizer says it.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="bf16, fp16 or fp32 (training is then the same as without, to the last bit on a CPU).")
    ] = "bf16",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; under torchrun every rank takes its share.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images that CUDA encodes together.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode images ahead.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be encoded and how large it is.")] = (
        False
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable summary.")] = False,
) -> None:
    """Keep the latents and prompts of shards beside them, so that training decodes, encodes and tokenizes nothing."""
    from omnigen.cache.encode import EncodeOptions, encode, report

    sides = tuple(side.split(",")) if side else ()
    options = EncodeOptions(shards, codec, sides, tokenizer, dtype, device, batch, workers, dry_run)
    with ExitStack() as open_bars:
        bars: list[Any] = []

        def on_images(done: int, total: int) -> None:
            if not bars:
                bars.append(open_bars.enter_context(typer.progressbar(length=total, label="encoding", file=sys.stderr)))
            bars[0].update(done)

        summary = encode(options, on_images)
    typer.echo(json.dumps(summary, indent=2, sort_keys=True) if as_json else report(summary))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. Exits with 0 (done), 1 (failed) or 2 (bad usage or bad input)."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="omnigen")
    except UserError as error:
        typer.secho(f"omnigen: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
