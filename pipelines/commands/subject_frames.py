"""`x2i subject_frames`: follows objects through the frames of a video."""

from __future__ import annotations

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.relate.frames import SubjectFramesStage
from x2i.command_options import with_options


@with_options
def command(dataset: DatasetArgument, stage: SubjectFramesStage, run: RunOptions) -> None:
    """Find objects of a frame that a later frame of the same clip shows too, for training on "IMG1 in this scene".

    Writes the relation `subject_frames`: the objects as the last frame shows them in which all remain, and the base
    frame as the target. Crawl videos with a short `--frame-interval`, such as 0.5, and run `x2i detect` first.

    Example: x2i subject_frames my-dataset --span 8
    """
    from pipelines.engine.run import run_stages
    from x2i.models import registry
    from x2i.store import Dataset

    registry.backend(registry.Ability.IMAGE_EMBEDDER, stage.embedder)
    run_stages([stage], Dataset.open(dataset), run)
