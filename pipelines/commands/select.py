"""`x2i select`: what an SQL selection keeps and cuts of a dataset's images, in numbers and pictures."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from pipelines.engine.options import DatasetArgument
from x2i.counting import counted
from x2i.errors import UserError

COMPARISONS = {"<=": "at-most", ">=": "at-least", "<>": "not", "!=": "not", "<": "below", ">": "above"}
LONGEST_NAME = 80


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
    selection = Selection.parse(predicates)
    found = selected_images(opened, selection, makers())
    cut = {name: len(keys) for name, keys in found.cut.items()}
    if json:
        typer.echo(json_module.dumps({"images": found.total, "kept": len(found.kept), "cut": cut}, indent=2))
    else:
        typer.echo(counted(found.total, "stored images"))
        for name, count in cut.items():
            typer.echo(f"  {count:,} fail {name}")
        typer.echo(f"{len(found.kept):,} kept")
    if sheets is not None:
        if not found.total:
            raise UserError(f"{opened.root}: no images to draw")
        sheets.mkdir(parents=True, exist_ok=True)
        asked = selection.predicates
        write_sheet_of(opened, found.kept, sheets / "kept.png", f"{opened.name}: kept", limit, list(asked.values()))
        for name, file in _sheet_names(found.cut).items():
            if keys := found.cut[name]:
                write_sheet_of(opened, keys, sheets / file, f"{opened.name}: fails {name}", limit, [asked[name]])
        typer.echo(f"pictures of what is kept and cut: {sheets}")


def _sheet_names(names: Iterable[str]) -> dict[str, str]:
    """Returns a file name for the sheet of each condition: `sharp` -> cut-sharp.png, a number added where two agree."""
    found: dict[str, str] = {}
    for name in names:
        text = re.sub("|".join(COMPARISONS), lambda sign: f" {COMPARISONS[sign[0]]} ", name)
        plain = "cut-" + re.sub(r"[^\w.]+", "-", text).strip("-.")[:LONGEST_NAME]
        taken = sum(file.lower().startswith(f"{plain}.png".lower()) for file in found.values())
        found[name] = f"{plain}-{len(found) + 1}.png" if taken else f"{plain}.png"
    return found
