"""Subject pairs: the relation of images that show the same thing in different pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation
from x2i.relate.duplicates import Duplicates
from x2i.store.commits import Counts
from x2i.tables import TableSpec

if TYPE_CHECKING:
    from x2i.models.abilities import InstanceMatcher, RgbImage
    from x2i.store import Dataset


@dataclass(frozen=True)
class SubjectPairs(Relation):
    """One row per pair, sorted by (key_a, key_b), among the images that are no duplicates."""

    matcher: Annotated[
        str, Option("Which matcher decides. classic:sift compares local features and checks the geometry.")
    ] = "classic:sift"
    embeddings: Annotated[
        str, Option("The column whose embeddings give candidates beside those that local features vote for.")
    ] = "embeddings"
    neighbors: Annotated[int, Option("Candidates per image from each of the two.", ge=1)] = 10
    min_inliers: Annotated[int, Option("Places that must agree on one geometry. More: fewer, surer pairs.", ge=8)] = 15
    near_distance: Annotated[
        int, Option("Pairs whose perceptual hashes differ in at most so many bits are left out.", ge=0, le=64)
    ] = 10

    spec = TableSpec(
        name="subject_pairs",
        title="in a pair of one subject",
        made_by="subjects",
        schema=pa.schema(
            [
                ("key_a", pa.string()),  # key_a < key_b
                ("key_b", pa.string()),
                ("matches", pa.int32()),
                ("inliers", pa.int32()),
                ("inlier_ratio", pa.float32()),
                ("area_ratio", pa.float32()),  # of the image where it is smaller: share that the inliers' hull covers
                ("model", pa.string()),  # "homography" or "fundamental"
                ("method", pa.string()),  # the matcher
                ("phash_distance", pa.int32()),
            ]
        ),
        kind="relation",
        rows="many",
        image_keys=("key_a", "key_b"),
    )
    memory_per_image = 150_000  # the matcher's features

    def find(
        self,
        images: pa.Table,
        features: Sequence[Any],
        embeddings_ND: NDArray[np.float32],
        read_image: Callable[[int], RgbImage],
        matcher: InstanceMatcher,
    ) -> pa.Table:
        """Returns the pairs among N `images` (fields key, phash; in key order).

        features: per image what `matcher.features` made. read_image: gives the pixels of an image by its row.
        """
        from x2i.relate.subjects import SubjectRule, find_pairs

        rule = SubjectRule(min_inliers=self.min_inliers, near_distance=self.near_distance, neighbors=self.neighbors)
        keys, hashes_N = images["key"].to_pylist(), images["phash"].to_numpy().astype(np.uint64)
        rows = [
            {
                "key_a": keys[pair.a],
                "key_b": keys[pair.b],
                "matches": pair.match.matches,
                "inliers": pair.match.inliers,
                "inlier_ratio": pair.match.inlier_ratio,
                "area_ratio": pair.area_ratio,
                "model": pair.match.model,
                "method": self.matcher,
                "phash_distance": pair.phash_distance,
            }
            for pair in find_pairs(features, embeddings_ND, hashes_N, read_image, matcher, rule)
        ]
        return pa.Table.from_pylist(rows, schema=self.spec.schema)

    def count(self, dataset: Dataset, images: pa.Table, table: pa.Table) -> Counts:
        """Counts the images in a pair, the duplicates, which were not compared, and the images without a partner."""
        compared = unique_images(dataset, images)
        paired = len(self.spec.images_in(table))
        dropped = {Reason.DUPLICATE: images.num_rows - compared.num_rows, Reason.NO_PAIR: compared.num_rows - paired}
        return Counts(paired, {str(reason): count for reason, count in dropped.items() if count})


def unique_images(dataset: Dataset, images: pa.Table) -> pa.Table:
    """Returns the rows of `images` (a field `key`) that are no duplicates of others."""
    relation = dataset.relation(Duplicates.spec.name)
    kept = relation.filter(pc.invert(relation["is_duplicate"]))["key"].combine_chunks()
    return images.filter(pc.is_in(images["key"], kept))
