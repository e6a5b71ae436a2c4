"""The `omnigen` command line: one command per file of `omnigen.commands`, each loaded only when it is called."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable, Sequence

import typer

from omnigen import __version__
from x2i.command_options import with_help
from x2i.errors import RunError, UserError, missing_extra

# name -> the line shown by `omnigen --help`; the module omnigen.commands.<name> holds a function `command`
COMMANDS = {
    "train": "Train on shards as a configuration says; run again to resume.",
    "encode": "Cache the latents and token ids of shards, once, before training.",
    "generate": "Generate an image from a prompt, and from input images.",
    "ui": "Serve a page on which to generate images.",
    "convert": "Write a network in another layout: ours, the authors', diffusers'.",
    "merge": "Add a LoRA adapter to a network's weights.",
    "unmerge": "Take a merged LoRA adapter out of a network's weights again.",
    "ablate": "Train pairs of networks that differ in one setting, and compare them.",
}
PAGES = {
    "train": "guides/training.md",
    "encode": "guides/encode.md",
    "generate": "guides/generate.md",
    "ui": "guides/generate.md",
    "convert": "guides/models.md",
    "merge": "guides/models.md",
    "unmerge": "guides/models.md",
    "ablate": "guides/training.md",
}
"""Where the docs speak of each command, as a path in docs/."""
OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What a machine may refuse, for which a traceback would tell a user nothing."""
USAGE = """Trains OmniGen, one network for every image task, on X2I shards, and generates images with it.

    omnigen train config.yaml

    omnigen encode data --codec sdxl:vae --side 256    (before training: once, instead of every epoch)

    omnigen generate --model runs/demo --prompt "a cat on a wall" --out cat.png

    omnigen generate --model runs/demo --image cat.png --prompt "<img><|image_1|></img> Make it snow." --out snow.png

    omnigen convert OmniGen-v1 models/omnigen --to ours
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. Exits with 0 (done), 1 (the run failed) or 2 (bad usage or bad input)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments and arguments[0] in COMMANDS:
            name = arguments[0]
            _load(name)(args=arguments[1:], prog_name=f"omnigen {name}")
        else:
            _overview()(args=arguments or ["--help"], prog_name="omnigen")
    except (UserError, RunError) as error:
        typer.secho(f"omnigen: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except ModuleNotFoundError as error:
        message = missing_extra(error, " ".join(["omnigen", *arguments[:1]]))
        if message is None:
            raise
        typer.secho(f"omnigen: {message}", fg=typer.colors.RED, err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            raise
        typer.secho(f"omnigen: {error.filename or 'writing'}: {error.strerror}", fg=typer.colors.RED, err=True)
        sys.exit(1)


def _load(name: str) -> Callable[..., None]:
    """Imports the module of command `name` and makes a command line of its function."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    command = importlib.import_module(f"omnigen.commands.{name}").command
    app.command(name, epilog=f"Its page: docs/{PAGES[name]}")(command)
    return with_help(app, command.__doc__)


def _overview() -> Callable[..., None]:
    """A command line that knows every command's name and one line about it, and none of their code."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

    @app.callback(help=USAGE)
    def overview(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ) -> None:
        """Holds the options of `omnigen` itself."""

    for name, summary in COMMANDS.items():
        app.command(name, help=summary)(lambda: None)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"omnigen {__version__}")
        raise typer.Exit


if __name__ == "__main__":
    main()
