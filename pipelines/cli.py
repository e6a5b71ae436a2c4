"""The `x2i` command line: one command per stage or tool, each loaded only when it is called."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from pipelines.engine.memory import collect_seldom
from pipelines.guides import pointer
from x2i import __version__
from x2i.errors import RunError, UserError, damaged_file, missing_extra

COMMANDS = {
    "Build": {
        "build": "Build a dataset, and train on it, from a manifest, end to end.",
        "plan": "Say what a build costs: cores, hours, network, storage.",
        "list": "List recipes, annotations, models, sources, importers, exporters, manifests.",
    },
    "Get images": {
        "crawl": "Fetch images from URL tables, pages, archives or folders into a dataset.",
        "import": "Read a public dataset into images or training shards.",
    },
    "Annotate": {
        "filter": "Score every image: quality, colors, faces, text, NSFW, fit of the caption, ...",
        "caption": "Write a caption for every image.",
        "detect": "Find the objects in every image: boxes, masks, phrases.",
        "embed": "Compute an embedding of every image.",
        "annotate": "Run any annotation by its name: depth, faces, text, ...",
    },
    "Relate images": {
        "dedup": "Find exact and near duplicates.",
        "semantic-dedup": "Find images that show the same, by their embeddings.",
        "entity-clusters": "Find the same objects or people across images, by their vectors.",
        "repeats": "Count how many images have the same caption.",
        "subjects": "Mine pairs of images that show the same thing.",
        "subject-entities": "Choose objects to cut out of their photographs and ask for again.",
        "subject-frames": "Follow objects through the frames of videos.",
        "frame-pairs": "Find frames of videos between which something moved.",
    },
    "Make samples and train": {
        "materialize": "Make training shards of any recipe.",
        "cvtasks": "Make training shards of computer-vision tasks: edges, deblur, ...",
        "reshard": "Cut training shards anew: other sizes, or shuffled.",
        "pairs": "Check, repair and multiply the edit pairs of training shards.",
        "export": "Write shards in other formats: OmniGen JSONL, a Hugging Face folder.",
        "train": "Train OmniGen on shards, on the workers of a Ray cluster.",
    },
    "Look and keep": {
        "inspect": "Look into a dataset or a shard: table, contact sheet, gallery.",
        "select": "Show what an SQL selection keeps and cuts, in numbers and pictures.",
        "report": "Show the funnel from URLs to samples, with every reason for loss.",
        "stats": "Show sizes, shapes, hosts, licenses, reasons, texts: tables and plots.",
        "verify": "Check every file of a dataset or a shard against its record.",
        "takedown": "Remove images and all that was made from them, for good.",
    },
}
"""Heading of `x2i --help` -> its commands, in the order of use, each with one line about it."""
MODULES = {"import": "imports", "plan": "estimate"}
"""Commands whose module in `pipelines.commands`, which holds a function `command`, has another name."""
COMMAND_NAMES = frozenset(name for commands in COMMANDS.values() for name in commands)
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
        if arguments and arguments[0] in COMMAND_NAMES:
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
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as end:  # what typer makes of Ctrl-C
        if end.code == INTERRUPTED:
            _stopped()
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in SURROUNDINGS:
            _complain(f"x2i: {error.filename or 'writing'}: {error.strerror}")
        elif damage := damaged_file(error):
            _complain(f"x2i: {damage}")
        else:
            raise
        sys.exit(1)


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

    from x2i.command_options import with_help

    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    module = importlib.import_module(f"pipelines.commands.{MODULES.get(name, name.replace('-', '_'))}")
    settings = getattr(module, "CONTEXT", None)
    app.command(name, context_settings=settings, epilog=pointer(name))(module.command)
    return with_help(app, module.command.__doc__)


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

    for heading, commands in COMMANDS.items():
        for name, summary in commands.items():
            app.command(name, help=summary, rich_help_panel=heading)(lambda: None)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        import typer

        typer.echo(f"x2i {__version__}")
        raise typer.Exit
