"""The `x2i` command line: one command per stage or tool, each loaded only when it is called."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from pipelines.engine.memory import collect_seldom
from x2i import __version__
from x2i.errors import RunError, UserError, missing_extra

# name -> (module that holds a function `command`, the line shown by `x2i --help`), in the order of use
COMMANDS = {
    "build": ("pipelines.commands.build", "Build a dataset, and train on it, from a manifest, end to end."),
    "crawl": ("pipelines.commands.crawl", "Fetch images from URL tables, HTML pages or folders into a dataset."),
    "import": ("pipelines.commands.imports", "Read a public dataset into images or training shards."),
    "filter": (
        "pipelines.commands.filter",
        "Score every image: resolution, sharpness, exposure, entropy, phash.",
    ),
    "dedup": ("pipelines.commands.dedup", "Find exact and near duplicates."),
    "caption": ("pipelines.commands.caption", "Write a caption for every image."),
    "detect": ("pipelines.commands.detect", "Find the objects in every image: boxes, masks, phrases."),
    "annotate": ("pipelines.commands.annotate", "Run any annotation by its name: depth maps, ..."),
    "list": ("pipelines.commands.list", "List recipes, annotations, models, sources, importers, exporters, manifests."),
    "embed": ("pipelines.commands.embed", "Compute an embedding of every image."),
    "subjects": ("pipelines.commands.subjects", "Mine pairs of images that show the same thing."),
    "select": ("pipelines.commands.select", "Show what an SQL selection keeps and cuts, in numbers and pictures."),
    "cvtasks": (
        "pipelines.commands.cvtasks",
        "Make training shards of computer-vision tasks: edges, deblur, ...",
    ),
    "materialize": ("pipelines.commands.materialize", "Make training shards of any recipe."),
    "train": ("pipelines.commands.train", "Train OmniGen on shards, on the workers of a Ray cluster."),
    "inspect": ("pipelines.commands.inspect", "Look into a dataset or a shard: table, contact sheet, gallery."),
    "report": ("pipelines.commands.report", "Show the funnel from URLs to samples, with every reason for loss."),
    "reshard": ("pipelines.commands.reshard", "Cut training shards anew: other sizes, or shuffled."),
    "pairs": ("pipelines.commands.pairs", "Check, repair and multiply the edit pairs of training shards."),
    "stats": ("pipelines.commands.stats", "Show sizes, shapes, hosts, licenses, reasons, texts: tables and plots."),
    "export": ("pipelines.commands.export", "Write shards in other formats: OmniGen JSONL, a Hugging Face folder."),
    "plan": ("pipelines.commands.estimate", "Say what a build costs: cores, hours, network, storage."),
    "takedown": ("pipelines.commands.takedown", "Remove images and all that was made from them, for good."),
    "verify": ("pipelines.commands.verify", "Check every file of a dataset or a shard against its record."),
}
INTERRUPTED = 130
SURROUNDINGS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EIO}
)
"""What the machine may refuse us, for which a traceback would tell a user nothing."""
USAGE = """Builds X2I-style datasets for unified image generation.

A dataset is a folder. Each command adds to it and can be run again: what is done is skipped, what was killed goes on.

    x2i crawl urls.csv --url-col url --text-col caption --out data

    x2i filter data && x2i caption data && x2i materialize data

    x2i inspect data --sheet sheet.png

`x2i COMMAND --help` explains each. To train on the result: `omnigen train --help`.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Exits with 0 (done), 1 (it failed, or failed partitions or findings remain) or 2 (bad usage or input).
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    collect_seldom()
    try:
        if arguments and arguments[0] in COMMANDS:
            _load(arguments[0])(args=arguments[1:], prog_name=f"x2i {arguments[0]}")
        else:
            _overview()(args=arguments or ["--help"], prog_name="x2i")
    except (UserError, RunError) as error:
        _complain(f"x2i: {error}")
        sys.exit(2 if isinstance(error, UserError) else 1)
    except ModuleNotFoundError as error:
        message = missing_extra(error, " ".join(["x2i", *arguments[:1]]))
        if message is None:
            raise
        _complain(f"x2i: {message}")
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.errno not in SURROUNDINGS:
            raise
        _complain(f"x2i: {error.filename or 'writing'}: {error.strerror}")
        sys.exit(1)
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as end:  # what typer makes of Ctrl-C
        if end.code == INTERRUPTED:
            _stopped()
        raise


def _complain(text: str) -> None:
    import typer

    typer.secho(text, fg=typer.colors.RED, err=True)


def _stopped() -> NoReturn:
    import typer

    from pipelines.engine.interrupt import MESSAGE

    typer.echo(MESSAGE, err=True)
    sys.exit(INTERRUPTED)


def _load(name: str) -> Callable[..., None]:
    """Imports the module of command `name` and makes a command line of its function."""
    import typer

    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    module = importlib.import_module(COMMANDS[name][0])
    app.command(name, context_settings=getattr(module, "CONTEXT", None))(module.command)
    return app


def _overview() -> Callable[..., None]:
    """A command line that knows every command's name and one line about it, and none of their code."""
    import typer

    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)

    @app.callback(help=USAGE)
    def overview(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ) -> None:
        """Holds the options of `x2i` itself."""

    for name, (_, summary) in COMMANDS.items():
        app.command(name, help=summary)(lambda: None)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        import typer

        typer.echo(f"x2i {__version__}")
        raise typer.Exit
