"""pose: the keypoints of the people in every image, as numbers and as a drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.annotate.suppression import suppressed
from x2i.image import encode
from x2i.image.skeleton import draw_poses
from x2i.models.abilities import Box, Detector, Pose, PoseEstimator
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.tables import IMAGE_TYPE

OVERLAP = 0.7


@dataclass(frozen=True)
class PoseMaps(ModelAnnotation):
    """Find the people in every image and the keypoints of each.

    pose: 8-bit RGB PNG of the image's size, limbs and joints on black. people: how many. boxes: x0, y0, x1, y1 of each
    in pixels, half-open. keypoints: x and y in pixels of the first person's keypoints, then of the next one's.
    scores: of each keypoint, 0 to 1, in the same order. names: of one person's keypoints.
    """

    name: ClassVar[str] = "pose"
    title: ClassVar[str] = "Poses: keypoints and their drawing"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("pose", IMAGE_TYPE),
        pa.field("people", pa.int32()),
        pa.field("boxes", pa.list_(pa.int32())),
        pa.field("keypoints", pa.list_(pa.float32())),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("names", pa.list_(pa.string())),
    )
    kept: ClassVar[str] = "pose IS NOT NULL"
    encodings: ClassVar[Mapping[str, str]] = {
        "pose": "8-bit RGB PNG on black; COCO's 17 keypoints as OpenPose's body of 18, hues around the wheel"
    }
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.POSE_ESTIMATOR, "detector": Ability.DETECTOR}

    model: Annotated[str, Option("The pose estimator: hf:MODEL, a folder or a name on the Hub.")] = (
        "hf:usyd-community/vitpose-base-simple"
    )
    detector: Annotated[str, Option("What finds the people.")] = "hf:IDEA-Research/grounding-dino-tiny"
    phrase: Annotated[str, Option("What the detector looks for.")] = "person"
    least_box: Annotated[float, Option("People with a lower score of the detector are left out.", ge=0, le=1)] = 0.3
    least_keypoint: Annotated[float, Option("Keypoints with a lower score are not drawn.", ge=0, le=1)] = 0.3

    def load(self) -> Annotator:
        found = self.backends()
        return PoseWriter(found["model"].load(), found["detector"].load(), self)


class PoseWriter:
    def __init__(self, estimator: PoseEstimator, detector: Detector, options: PoseMaps) -> None:
        self._estimator, self._detector, self._options = estimator, detector, options

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        pixels = [image.pixels for image in images]
        detected = self._detector.detect(pixels, [[self._options.phrase]] * len(pixels))
        people = [
            [one.box for one in suppressed(found, OVERLAP) if one.score >= self._options.least_box]
            for found in detected
        ]
        poses = self._estimator.poses(pixels, people)
        return [self._verdict(*parts) for parts in zip(images, people, poses, strict=True)]

    def _verdict(self, image: StoredImage, boxes: Sequence[Box], poses: Sequence[Pose]) -> Verdict:
        if not poses:
            return Dropped(Reason.NOTHING_FOUND)
        height, width = image.pixels.shape[:2]
        joints = [(pose.keypoints_K2, pose.scores_K) for pose in poses]
        drawn = draw_poses(height, width, joints, self._estimator.limbs, self._options.least_keypoint)
        return {
            "pose": {"bytes": encode(drawn, "png"), "path": f"{image.key}.png"},
            "people": len(poses),
            "boxes": [side for box in boxes for side in vars(box).values()],
            "keypoints": np.concatenate([pose.keypoints_K2.ravel() for pose in poses]),
            "scores": np.concatenate([pose.scores_K for pose in poses]),
            "names": list(self._estimator.names),
        }
