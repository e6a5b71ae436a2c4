"""`x2i materialize`: turns selected images and what is known about them into training shards, recipe by recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.materialize import recipe_options, recipe_stages
from pipelines.stages.shard_options import ShardOptions
from x2i.command_options import with_options
from x2i.recipes import RECIPES

Recipes = Annotated[
    list[str] | None, typer.Option(help="A recipe, or mypackage.module:Class; repeatable. Default: all that can be.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="[RECIPE.]KEY=VALUE", help="An option of a recipe, the value as YAML; repeatable."),
]


@with_options
def command(
    dataset: DatasetArgument, run: RunOptions, shards: ShardOptions, recipe: Recipes = None, set_: Set = None
) -> None:
    """Makes training shards from the images of a dataset and what the earlier stages found out about them.

    Each recipe makes the samples of one task. A recipe that needs a column nobody has made is skipped, unless it is
    asked for by name. Selections are SQL over the columns, for example:

        x2i materialize data --recipe text_to_image --where "quality.min_side >= 256 AND NOT duplicates.is_duplicate"

        x2i materialize data --recipe deblur --set "kinds=[motion]" --set "length=[0.05, 0.1]"
    """
    materialize(dataset, recipe, RECIPES.names(), set_ or (), shards, run)


def materialize(
    root: Path,
    asked: Sequence[str] | None,
    default: Sequence[str],
    options: Sequence[str],
    shards: ShardOptions,
    run: RunOptions,
) -> None:
    """Runs the recipes `asked` for, or those of `default` whose columns exist; says which are left out, and why."""
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    dataset = Dataset.open(root)
    recipes = recipe_options(list(dict.fromkeys(asked or default)), options)
    stages, skipped = recipe_stages(dataset, recipes, shards, asked_for=bool(asked))
    lacking: dict[str, list[str]] = {}
    for name, lack in skipped.items():
        lacking.setdefault(lack.partition(" (there are")[0], []).append(name)
    for lack, names in lacking.items():
        typer.echo(f"skipped, {lack}: {', '.join(names)}", err=True)
    run_stages(stages, dataset, run)
