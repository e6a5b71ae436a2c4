"""`hf:MODEL` poses: ViTPose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.errors import UserError
from x2i.models.abilities import Box, Pose, PoseEstimator, RgbImage
from x2i.models.hf.batches import on_model
from x2i.models.torch_backend import HubBackend
from x2i.options import Option


@dataclass(frozen=True)
class HfPose(HubBackend):
    """Keypoints of people by transformers' ViTPose and its own image processor."""

    title: ClassVar[str] = "Poses by ViTPose in transformers"

    expert: Annotated[int, Option("Which head of a ViTPose++: 0 is COCO's 17 keypoints.", ge=0)] = 0

    def load(self) -> PoseEstimator:
        transformers = self.require("transformers")
        kind = transformers.AutoModelForPoseEstimation
        model = self.network(kind)
        if model.config.model_type != "vitpose":
            raise UserError(f"{self.model}: a {model.config.model_type}; expected a vitpose")
        return LoadedPose(model, self.pretrained(transformers.AutoImageProcessor), self.expert)


class LoadedPose:
    """Every person is cut out and brought to one size, so that those of all images go through together."""

    def __init__(self, model: Any, processor: Any, expert: int) -> None:
        self._model, self._processor, self._expert = model, processor, expert
        config = model.config
        self.names: Sequence[str] = tuple(config.id2label[number] for number in range(config.num_labels))
        self.limbs: Sequence[tuple[int, int]] = tuple((a, b) for a, b in getattr(config, "edges", None) or ())
        self._has_experts = getattr(config.backbone_config, "num_experts", 1) > 1

    def poses(self, images: Sequence[RgbImage], people: Sequence[Sequence[Box]]) -> list[list[Pose]]:
        """Returns a pose for each of the people of each image."""
        import torch

        found: list[list[Pose]] = [[] for _ in images]
        shown = [number for number, boxes in enumerate(people) if boxes]
        if not shown:
            return found
        boxes = [np.array([_corner_and_size(box) for box in people[number]], np.float32) for number in shown]
        inputs = on_model(
            self._processor([images[number] for number in shown], boxes=boxes, return_tensors="pt"), self._model
        )
        if self._has_experts:
            inputs["dataset_index"] = torch.full(
                (len(inputs["pixel_values"]),), self._expert, device=self._model.device
            )
        with torch.inference_mode():
            outputs = self._model(**inputs)
        outputs.heatmaps = outputs.heatmaps.float()
        for number, poses in zip(
            shown, self._processor.post_process_pose_estimation(outputs, boxes=boxes), strict=True
        ):
            found[number] = [
                Pose(pose["keypoints"].numpy().astype(np.float32), pose["scores"].numpy().clip(0, 1)) for pose in poses
            ]
        return found


def _corner_and_size(box: Box) -> tuple[int, int, int, int]:
    return box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0
