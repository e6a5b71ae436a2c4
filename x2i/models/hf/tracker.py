"""`hf:MODEL` tracking: SAM2, SAM2.1 and their like for films in transformers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.models.abilities import RgbImage, Tracked, Tracker
from x2i.models.torch_backend import HubBackend


@dataclass(frozen=True)
class HfTracker(HubBackend):
    """A model with a memory of earlier frames, as transformers' AutoModel loads it: an object may come back."""

    title: ClassVar[str] = "Objects followed through films by SAM2 and its like in transformers"

    def load(self) -> Tracker:
        transformers = self.require("transformers")
        model = self.network(transformers.AutoModel)
        if not hasattr(model, "propagate_in_video_iterator"):
            raise UserError(f"{self.model}: a {type(model).__name__} follows no objects: expected a model for films")
        return LoadedTracker(model, self.pretrained(transformers.AutoProcessor))


class LoadedTracker:
    """Frames are handed over one by one, so that a film need not be in memory."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor

    def track(self, frames: Iterable[RgbImage], masks: Sequence[NDArray[np.bool_]]) -> Iterator[list[Tracked | None]]:
        device, dtype = self._model.device, self._model.dtype
        session = self._processor.init_video_session(inference_device=device, dtype=dtype)
        for number, pixels in enumerate(frames):
            if number == 0:
                self._processor.add_inputs_to_inference_session(
                    session, frame_idx=0, obj_ids=list(range(len(masks))), input_masks=list(masks)
                )
            found = self._step(session, pixels)
            if number > 0:
                yield found

    def _step(self, session: Any, pixels: RgbImage) -> list[Tracked | None]:
        import torch

        inputs = self._processor(images=pixels, return_tensors="pt")
        with torch.inference_mode():
            frame = inputs["pixel_values"][0].to(self._model.device, self._model.dtype)
            outputs = self._model(inference_session=session, frame=frame)
        size = [list(pixels.shape[:2])]
        (masks_N1HW,) = self._processor.post_process_masks([outputs.pred_masks.float().cpu()], size)
        scores_N = torch.sigmoid(outputs.object_score_logits.float()).flatten().tolist()
        return [
            Tracked(mask_1HW[0].numpy(), score) if score > 0.5 and mask_1HW.any() else None
            for mask_1HW, score in zip(masks_N1HW, scores_N, strict=True)
        ]
