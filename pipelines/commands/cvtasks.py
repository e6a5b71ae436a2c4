"""`x2i cvtasks`: materialize, with the computer-vision recipes as the default."""

from __future__ import annotations

from pipelines.commands.materialize import Recipes, Set, materialize
from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.materialize import computer_vision_recipes
from pipelines.stages.shard_options import ShardOptions
from x2i.command_options import with_options


@with_options
def command(
    dataset: DatasetArgument, run: RunOptions, shards: ShardOptions, recipe: Recipes = None, set_: Set = None
) -> None:
    """Makes training shards of computer-vision tasks: conditions such as edges and depth, restoration, segmentation.

    The same as `x2i materialize` with these recipes as the default. Most need nothing but images:

        x2i cvtasks data --where "quality.sharpness > 50" --max-samples 10000
    """
    materialize(dataset, recipe, computer_vision_recipes(), set_ or (), shards, run)
