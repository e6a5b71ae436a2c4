"""Subject pairs: the relation of images that show the same thing in different pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from x2i.annotate.base import settings
from x2i.options import Option
from x2i.reasons import Reason
from x2i.relate.base import Relation
from x2i.relate.duplicates import Duplicates
from x2i.relate.subject_rows import SubjectInput, SubjectRow, subject_spec
from x2i.store.commits import Counts

if TYPE_CHECKING:
    from x2i.models.abilities import InstanceMatcher, RgbImage
    from x2i.relate.subjects import SubjectPair
    from x2i.store import Dataset


@dataclass(frozen=True)
class SubjectPairs(Relation):
    """Among the images that are no duplicates: either image of a pair as the input and the other as the target."""

    matcher: Annotated[
        str, Option("Which matcher decides. classic:sift compares local features; hf:MODEL is LightGlue and its like.")
    ] = "classic:sift"
    embeddings: Annotated[
        str, Option("The column whose embeddings give candidates beside those that local features vote for.")
    ] = "embeddings"
    neighbors: Annotated[int, Option("Candidates per image from each of the sources of candidates.", ge=1)] = 10
    within: Annotated[
        tuple[str, ...],
        Option("Further candidates: near ones of one `page`, one `host`, or whose captions share `names`; repeatable."),
    ] = ("page", "names")
    captions: Annotated[str, Option("The column of captions for `names`, if there is one.")] = "captions"
    min_inliers: Annotated[int, Option("Places that must agree on one geometry. More: fewer, surer pairs.", ge=8)] = 15
    near_distance: Annotated[
        int, Option("Pairs whose perceptual hashes differ in at most so many bits are left out.", ge=0, le=64)
    ] = 10
    most_similar: Annotated[
        float, Option("Pairs whose embeddings have a larger cosine are left out: they teach copying.", ge=0, le=1)
    ] = 0.99
    least_similar: Annotated[float, Option("Pairs with a smaller cosine are left out.", ge=-1, le=1)] = -1.0
    crops: Annotated[
        str,
        Option("An embedder for the objects in `entities`: pairs whose objects look alike count too. Default: none."),
    ] = ""
    entities: Annotated[str, Option("The column of objects for `crops`.")] = "entities"
    same_crop: Annotated[float, Option("Cosine from which two objects of one label are the same.", ge=0, le=1)] = 0.85
    people: Annotated[bool, Option("Pair images of the same person, by the vectors of the column `faces`.")] = False
    faces: Annotated[str, Option("The column of faces for `people`.")] = "faces"
    same_person: Annotated[float, Option("Cosine from which two faces are one person's.", ge=0, le=1)] = 0.45
    references: Annotated[
        int, Option("Pictures of a person that a group photo is compared with, and that the judge is shown.", ge=1)
    ] = 5
    yes_rate: Annotated[
        float, Option("Share of them that must agree, for each person of a group photo; also of the judge.", gt=0, le=1)
    ] = 0.6
    judge: Annotated[
        str,
        Option("A vision-language model, hf:MODEL or openai:URL#MODEL, that must say yes to a pair. Default: none."),
    ] = ""
    judge_set: Annotated[
        Mapping[str, Any],
        Option("An option of the judge, as key=value; may be repeated.", metavar="KEY=VALUE", parse=settings),
    ] = field(default_factory=dict)
    per_image: Annotated[int, Option("Rows with one target at most.", ge=1)] = 10
    per_subject: Annotated[int, Option("Rows of one subject at most.", ge=1)] = 50
    per_page: Annotated[int, Option("Rows whose targets come from one page at most.", ge=1)] = 200

    spec = subject_spec("subject_pairs", "in a pair of one subject", "subjects")
    memory_per_image = 40_000  # the features that vote

    def find(
        self,
        images: pa.Table,
        features: Sequence[Any],
        embeddings_ND: NDArray[np.float32],
        read_image: Callable[[int], RgbImage],
        matcher: InstanceMatcher,
        groups: Mapping[str, Sequence[str]],
    ) -> list[SubjectRow]:
        """Returns the rows that geometry proves among `images`, which have the fields `key` and `phash`.

        groups: kind -> the group of each image, "" for none; images of one group are compared.
        The rest as in `x2i.relate.subjects.find_pairs`.
        """
        from x2i.relate.subjects import SubjectRule, find_pairs

        rule = SubjectRule(
            min_inliers=self.min_inliers,
            near_distance=self.near_distance,
            neighbors=self.neighbors,
            similarity=(self.least_similar, self.most_similar),
        )
        keys, hashes_N = images["key"].to_pylist(), images["phash"].to_numpy().astype(np.uint64)
        found = find_pairs(features, embeddings_ND, hashes_N, read_image, matcher, rule, list(groups.values()))
        return [
            SubjectRow(keys[target], (SubjectInput(keys[source]),), "geometry", _scores(pair), self._evidence(pair))
            for pair in found
            for source, target in ((pair.a, pair.b), (pair.b, pair.a))
        ]

    def _evidence(self, pair: SubjectPair) -> dict[str, Any]:
        return {"method": self.matcher, "model": pair.match.model, "matches": pair.match.matches}

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


def _scores(pair: SubjectPair) -> dict[str, float]:
    return {
        "similarity": pair.similarity,
        "phash_distance": pair.phash_distance,
        "inliers": pair.match.inliers,
        "inlier_ratio": pair.match.inlier_ratio,
        "area_ratio": pair.area_ratio,
    }
