"""`x2i frame_pairs`: finds frames of a video between which something moved before a camera that stood still."""

from __future__ import annotations

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.relate.frames import FramePairsStage
from x2i.command_options import with_options


@with_options
def command(dataset: DatasetArgument, stage: FramePairsStage, run: RunOptions) -> None:
    """Find two frames of a clip that differ by what moved before a camera that stood still, for training on edits.

    Writes the relation `frame_pairs`. Where the column `entities` names an object that can be followed from one frame
    to the other, the row says how it moved, and the recipe frame_edit makes words of it.

    Example: x2i frame_pairs my-dataset --span 3
    """
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    run_stages([stage], Dataset.open(dataset), run)
