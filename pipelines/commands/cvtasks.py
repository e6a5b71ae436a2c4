"""`x2i cvtasks`: materialize, with the computer-vision recipes as the default."""

from __future__ import annotations

from pipelines.commands.materialize import (
    MEGABYTE,
    MaxSamples,
    MaxSide,
    Quality,
    Recipes,
    ShardMegabytes,
    ShardSize,
    Where,
    materialize,
)
from pipelines.engine.options import DatasetArgument, RunOptions
from x2i.command_options import with_options

CV_RECIPES = (
    "canny_to_image",
    "image_to_canny",
    "deblur",
    "denoise",
    "inpaint",
    "colorize",
    "referring_segmentation",
)


@with_options
def command(
    dataset: DatasetArgument,
    run: RunOptions,
    recipe: Recipes = None,
    where: Where = None,
    max_samples: MaxSamples = None,
    max_side: MaxSide = 1024,
    quality: Quality = 95,
    shard_size: ShardSize = 1000,
    shard_megabytes: ShardMegabytes = 256,
) -> None:
    """Makes training shards of computer-vision tasks: edges, deblur, denoise, inpaint, colorize, segmentation.

    The same as `x2i materialize` with these recipes as the default. Most need nothing but images:

        x2i cvtasks data --where "quality.sharpness > 50" --max-samples 10000
    """
    materialize(
        dataset,
        recipe or CV_RECIPES,
        bool(recipe),
        where or (),
        run,
        max_samples=max_samples,
        max_side=max_side,
        quality=quality,
        shard_size=shard_size,
        shard_bytes=shard_megabytes * MEGABYTE,
    )
