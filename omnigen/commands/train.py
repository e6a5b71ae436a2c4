"""`omnigen train`: train on shards, as a configuration says or from a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnigen.commands.progress import progress
from omnigen.configurations import find_configuration
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.train.config import TrainingConfig

RUNS = Path("runs")


def command(
    config: Annotated[
        Path | None,
        typer.Argument(help="YAML file of the run, or the name of one of ours, such as tiny. Not with --init."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Fine-tune the network in this folder, in any layout, or of this run; no CONFIG is needed."),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="With --init: a dataset or folder of training shards; may be repeated.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="With --init: optimizer steps. Default: by the number of samples.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="With --init: train all weights instead of an adapter.")] = False,
    trigger: Annotated[
        str | None, typer.Option(help="With --init: a word to put before every instruction, such as a new name.")
    ] = None,
    class_data: Annotated[
        list[str] | None,
        typer.Option(help="With --init: shards of other pictures of the same class, half of every step; repeatable."),
    ] = None,
    class_prompt: Annotated[
        str | None,
        typer.Option(help="With --init: draw such pictures of this prompt first, with the network as it is."),
    ] = None,
    class_number: Annotated[int, typer.Option(min=1, help="Pictures that --class-prompt draws.")] = 50,
    class_steps: Annotated[int, typer.Option(min=1, help="Sampling steps of each of them.")] = 50,
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
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/<name of CONFIG>, or runs/finetune.")
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Print the memory that the run takes and the devices it fits; do nothing."),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print the longest pack of common GPUs and the hours it takes there; do nothing."),
    ] = False,
    mfu: Annotated[
        float, typer.Option(min=0.01, max=1, help="With --plan: the share of a GPU's peak that training reaches.")
    ] = 0.4,
) -> None:
    """Train on shards as CONFIG says, or fine-tune a model folder; run the same command again to resume.

    omnigen train --init OmniGen-v1 --data data --out runs/mine

    On several GPUs: torchrun --nproc-per-node 8 -m omnigen.cli train CONFIG --set parallel.mode=fsdp
    """
    from omnigen.train.class_pictures import class_folder
    from omnigen.train.config import load_config
    from omnigen.train.finetune import finetune_config
    from omnigen.train.run import estimate as estimate_run
    from omnigen.train.run import plan as plan_run
    from omnigen.train.run import train_settings

    if (config is None) == (init is None):
        raise UserError("give either CONFIG, or --init FOLDER with --data; see omnigen train --help")
    if config is not None:
        if data or steps or full or trigger or class_data or class_prompt:
            raise UserError(
                "--data, --steps, --full, --trigger, --class-data, --class-prompt: only with --init; with CONFIG use "
                "--set"
            )
        config = find_configuration(config)
        settings, name = load_config(config, set_ or []), config.stem
    else:
        assert init is not None
        name, class_shards = "finetune", list(class_data or [])
        folder = None
        if class_prompt is not None and not (estimate or plan):
            folder = class_folder(out or RUNS / name, class_prompt, class_number)
            class_shards.append(str(folder))
        settings = finetune_config(
            init,
            data or [],
            set_ or [],
            steps=steps,
            full=full,
            trigger=trigger,
            class_shards=class_shards,
            needs_data=not plan,
        )
        if class_prompt is not None and folder is not None:
            _draw_class_pictures(settings, class_prompt, class_number, class_steps, folder)
    if estimate or plan:
        typer.echo(plan_run(settings, mfu) if plan else estimate_run(settings))
        return
    train_settings(settings, resume, out or RUNS / name)


def _draw_class_pictures(settings: TrainingConfig, prompt: str, number: int, steps: int, folder: Path) -> None:
    """Draws the class pictures that are not there yet, as large as they are trained on."""
    from omnigen.generate.find_model import find_model
    from omnigen.generate.options import GenerationOptions
    from omnigen.images import TOKEN_PIXELS
    from omnigen.train.class_pictures import draw_class_pictures
    from omnigen.train.resolve import resolve_folder

    assert settings.model.init is not None
    side = resolve_folder(settings)[0].data.max_side // TOKEN_PIXELS * TOKEN_PIXELS
    options = GenerationOptions(height=side, width=side, steps=steps)
    with progress("class pictures") as advance:
        draw_class_pictures(find_model(Path(settings.model.init)), prompt, number, folder, options, advance)
