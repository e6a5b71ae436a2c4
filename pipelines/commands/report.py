"""`x2i report`: the funnel from addresses to samples, with every reason for loss, as text and as a page."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.engine.options import DatasetArgument

if TYPE_CHECKING:
    from x2i.inspect.report.funnel import Funnel
    from x2i.store import Dataset


def command(
    dataset: DatasetArgument,
    html: Annotated[Path | None, typer.Option(help="Write the report, with plots, to this .html file.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="A training run's folder: adds what training came to. Default: DATASET/run.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON on stdout.")] = False,
) -> None:
    """Show the funnel from addresses to samples, with every reason for loss.

    Counts come from the commit records of the stages, so the report is right at any moment, even while a stage runs.

        x2i report data

        x2i report data --html report.html --run runs/demo
    """
    from pipelines.console import open_console
    from x2i.inspect.report.funnel import read_funnel
    from x2i.inspect.report.text import report_text
    from x2i.store import Dataset

    opened = Dataset.open(dataset)
    folder = run if run is not None else _own_run(opened)
    funnel = read_funnel(opened)
    if json:
        typer.echo(json_module.dumps(asdict(funnel), indent=2, ensure_ascii=False))
    else:
        from x2i.inspect.report.training import read_run

        open_console().print(report_text(funnel, read_run(folder) if folder is not None else None))
    if html is not None:
        write_report(opened, html, folder, funnel)
        typer.echo(f"report: {html}", err=json)


def write_report(dataset: Dataset, path: Path, run: Path | None = None, funnel: Funnel | None = None) -> None:
    """Writes the report of `dataset`, and of the training run in folder `run` if given, to the HTML file `path`.

    funnel: of `dataset`, if it has been read.
    """
    from x2i.inspect.report.distributions import read_distributions
    from x2i.inspect.report.funnel import read_funnel
    from x2i.inspect.report.page import write_report_page
    from x2i.inspect.report.training import read_run

    training = read_run(run) if run is not None else None
    write_report_page(funnel or read_funnel(dataset), read_distributions(dataset), training, path)


def _own_run(dataset: Dataset) -> Path | None:
    """Returns the run that `x2i build` leaves inside a dataset, if there is one."""
    folder = dataset.root / "run"
    return folder if (folder / "metrics.jsonl").exists() else None
