"""`x2i stats`: sizes, shapes, origins, licenses, reasons and texts of datasets and shards, as tables and plots."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.engine.options import StorePath, dataset_path


def command(
    paths: Annotated[
        list[StorePath],
        typer.Argument(
            parser=dataset_path,
            metavar="DATASET_OR_SHARD...",
            help="Dataset folders, folders of shards, shards or image partitions (.tar); several are read as one.",
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(
            help="Add a table by this field. Of images: host, format, license, status, reason, opt_out, http_status. "
            "Of samples: task, num_inputs, recipe, image_format, shard."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Name so many values of each field; the tail is summed up.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this .html file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON on stdout.")] = False,
) -> None:
    """Show what is in datasets and shards: sizes, shapes, bytes, hosts, licenses, reasons for loss, lengths of texts.

    DuckDB reads the indexes and spills to a temporary folder: any size of dataset fits into a few hundred megabytes.
    Medians are approximate, right to about 1%; everything else is exact.

        x2i stats data

        x2i stats data --by host --top 30

        x2i stats data/shards/deblur-1in-00000.tar --json

        x2i stats data --html stats.html
    """
    from pipelines.console import open_console
    from x2i.inspect.stats.read import read_stats
    from x2i.inspect.stats.text import stats_text
    from x2i.inspect.target import open_target

    with open_console(stderr=True).status("reading"):
        stats = read_stats([open_target(path) for path in paths], by, top)
    if json:
        typer.echo(json_module.dumps(asdict(stats), indent=2, ensure_ascii=False))
    else:
        open_console().print(stats_text(stats, by))
    if html is not None:
        from x2i.inspect.stats.page import write_stats_page

        write_stats_page(stats, html, by)
        typer.echo(f"statistics: {html}", err=json)
