"""`x2i dedup`: finds images that occur more than once, byte for byte or to the eye, and which one to keep."""

from __future__ import annotations

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.relate.duplicates import DuplicatesStage
from x2i.command_options import with_options


@with_options
def command(dataset: DatasetArgument, stage: DuplicatesStage, run: RunOptions) -> None:
    """Find images that are there more than once: the same bytes, or the same picture resized or compressed again.

    Images with near hashes are duplicates only if they look the same: a picture in other colors, or blurred, stays.

    Writes the relation `duplicates`: for every image the one to keep in its place, the largest of its group. Nothing is
    deleted; leave duplicates out of shards with the selection "NOT duplicates.is_duplicate".

    Example: x2i dedup my-dataset --max-distance 6
    """
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    run_stages([stage], Dataset.open(dataset), run)
