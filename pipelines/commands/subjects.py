"""`x2i subjects`: finds images that show the same thing in different pictures."""

from __future__ import annotations

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.relate.subjects import SubjectsStage
from x2i.command_options import with_options


@with_options
def command(dataset: DatasetArgument, stage: SubjectsStage, run: RunOptions) -> None:
    """Find pairs of images that show the same thing, for training on "the subject of this image, in another picture".

    Writes the relation `subject_pairs`. A pair must agree on one geometry over a good part of both images;
    `--crops` and `--people` add pairs of alike objects, and of the same person where you turned them on. Duplicates,
    near-duplicates and plain cut-outs with the same light are not pairs: they would teach a model to copy. Run
    `x2i dedup` and `x2i embed` first.

    Example: x2i subjects my-dataset --matcher classic:sift --neighbors 10
    """
    from pipelines.engine.run import run_stages
    from x2i.models import registry
    from x2i.store import Dataset

    registry.backend(registry.Ability.INSTANCE_MATCHER, stage.matcher)
    run_stages([stage], Dataset.open(dataset), run)
