"""`x2i semantic-dedup`: finds images that show the same to an embedding model, and which one to keep."""

from __future__ import annotations

from pipelines.engine.options import DatasetArgument, RunOptions
from pipelines.stages.relate.semantic_duplicates import SemanticDuplicatesStage
from x2i.command_options import with_options


@with_options
def command(dataset: DatasetArgument, stage: SemanticDuplicatesStage, run: RunOptions) -> None:
    """Find images that show the same to an embedding model: other shots of a product, posters in other sizes.

    It reads a column of embeddings (`x2i embed`) and the score `flatness` (`x2i filter`). Every pair of images with at
    least the similarity is found, not only pairs in one cell. Of a group the captioned images are preferred, then the
    larger ones; `--prefer` says otherwise, with scores for example, the most important first.

    Writes the relation `semantic_duplicates`: for every image the one to keep in its place. Nothing is deleted; leave
    duplicates out of shards with the selection "NOT semantic_duplicates.is_duplicate".

    Example: x2i semantic-dedup my-dataset --similarity 0.95

    Example: x2i semantic-dedup my-dataset --prefer "quality.min_side >= 512" --prefer "aesthetic.score"
    """
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    run_stages([stage], Dataset.open(dataset), run)
