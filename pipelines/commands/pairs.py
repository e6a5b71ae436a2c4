"""`x2i pairs`: edit pairs in training shards checked, repaired, and multiplied by what follows from them."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.engine.options import OutOption, RunOptions, StorePath
from pipelines.stages.pairs import PairOptions, PairsStage
from x2i.command_options import with_options
from x2i.store.files.remote import dataset_path


@with_options
def command(
    sources: Annotated[
        list[StorePath],
        typer.Argument(
            parser=dataset_path, metavar="SOURCE...", help="Datasets, folders of shards, or single shards (.tar)."
        ),
    ],
    options: PairOptions,
    out: OutOption,
    run: RunOptions,
) -> None:
    """Check the samples of training shards, and make the pairs that follow from them. The sources are only read.

    What is found stands in each sample: scores `alignment.*`, parameters `alignment` and `lint`. Public editing sets
    have many pairs whose output is shifted, cropped or stretched; --alignment repair mends those that were only
    resized, and flags the rest with a reason.

        x2i pairs imported --out checked --alignment repair --lint flag

        x2i pairs imported --out more --alignment drop --lint drop --derive inverse --derive between

        x2i pairs imported --out asked --writer openai:http://localhost:8000/v1#MODEL

        x2i pairs data --out passed --text drop --judge openai:http://localhost:8000/v1#MODEL --judged drop
    """
    from pipelines.commands.reshard import refuse_own_shards
    from pipelines.engine.run import dataset_for_ingest, run_stages
    from pipelines.stages.pairs import NAME
    from x2i.store.reshard import source_shards

    for source in sources:
        source_shards(source)  # a mistyped source is told before anything is made
    stage = PairsStage(tuple(str(source.absolute()) for source in sources), options)
    dataset = dataset_for_ingest(out, run)
    refuse_own_shards(dataset, sources, NAME)
    run_stages([stage], dataset, run)
