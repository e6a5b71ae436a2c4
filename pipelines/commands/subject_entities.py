"""`x2i subject_entities`: chooses the objects of every photograph that are cut out of it and asked for again."""

from __future__ import annotations

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.relate.entities import SubjectEntitiesStage
from x2i.command_options import with_options


@with_options
def command(dataset: DatasetArgument, stage: SubjectEntitiesStage, run: RunOptions) -> None:
    """Choose up to three objects of every photograph, for training on "IMG1 and IMG2 in this scene".

    Writes the relation `subject_entities`, from which the recipes entity_to_image, two_entities_to_image and
    three_entities_to_image cut the objects. Run `x2i detect` first, best with `--phrases-from captions`: then the words
    of the caption are tied to the pictures.

    Example: x2i subject_entities my-dataset --most 2
    """
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    run_stages([stage], Dataset.open(dataset), run)
