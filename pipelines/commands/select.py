"""`x2i select`: what an SQL selection keeps and cuts of a dataset's images, in numbers and pictures."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from pipelines.engine.options import DatasetArgument
from x2i.errors import UserError


def command(
    dataset: DatasetArgument,
    predicates: Annotated[
        list[str], typer.Argument(help="PREDICATE or NAME=PREDICATE, over images and columns; asked in this order.")
    ],
    sheets: Annotated[
        Path | None, typer.Option("--sheets", help="Folder for contact sheets: kept.png and one for each predicate.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Images on a sheet at most.")] = 48,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Show how many images a selection keeps, how many fail which predicate, and what they look like.

        x2i select data "quality.min_side >= 512" "sharp=quality.sharpness > 50" --sheets look

    Nothing is written into the dataset. `x2i materialize --where` and manifests take the same predicates.
    """
    from x2i.inspect.sheet.images import write_sheet_of
    from x2i.recipes.plan import makers
    from x2i.store import Dataset
    from x2i.store.query.selected import selected_images
    from x2i.store.query.views import Selection

    opened = Dataset.open(dataset)
    found = selected_images(opened, Selection.parse(predicates), makers())
    cut = {name: len(keys) for name, keys in found.cut.items()}
    if json:
        typer.echo(json_module.dumps({"images": found.total, "kept": len(found.kept), "cut": cut}, indent=2))
    else:
        typer.echo(f"{found.total:,} stored images")
        for name, count in cut.items():
            typer.echo(f"  {count:,} fail {name}")
        typer.echo(f"{len(found.kept):,} kept")
    if sheets is not None:
        if not found.total:
            raise UserError(f"{opened.root}: no images to draw")
        sheets.mkdir(parents=True, exist_ok=True)
        write_sheet_of(opened, found.kept, sheets / "kept.png", f"{opened.name}: kept", limit)
        for number, (name, keys) in enumerate(found.cut.items(), start=1):
            if keys:
                write_sheet_of(opened, keys, sheets / f"cut-{number}.png", f"{opened.name}: fails {name}", limit)
        typer.echo(f"pictures of what is kept and cut: {sheets}")
