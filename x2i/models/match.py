"""How well two images agree on showing one thing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Match:
    """What a matcher found in two images. All counts and shares are 0 where nothing agrees.

    matches: tentative correspondences. inliers: those that the geometric model explains, each place counted once.
    inlier_ratio: share of the matches that the model explains, in [0, 1].
    area_a, area_b: share in [0, 1] of either image that the inliers' convex hull covers.
    model: "homography" (a plane, or a turned camera), "fundamental" (a solid scene, a moved camera), or "" for none.
    homography_33: maps pixels of a to pixels of b (homogeneous x, y, 1); None unless the model is a homography.
    similarity_33: what of b is nearest to a without a change of shape: a map that shifts, scales and turns pixels of a
    to pixels of b, by most of the matches; None where there is none.
    """

    matches: int = 0
    inliers: int = 0
    inlier_ratio: float = 0.0
    area_a: float = 0.0
    area_b: float = 0.0
    model: str = ""
    homography_33: NDArray[np.float64] | None = None
    similarity_33: NDArray[np.float64] | None = None

    def swapped(self) -> Match:
        """Returns the agreement of b with a."""
        homography_33, similarity_33 = (
            None if map_33 is None else np.linalg.inv(map_33).astype(np.float64)
            for map_33 in (self.homography_33, self.similarity_33)
        )
        return replace(
            self, area_a=self.area_b, area_b=self.area_a, homography_33=homography_33, similarity_33=similarity_33
        )
