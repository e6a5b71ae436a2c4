"""What detectors that look for phrases share: which phrase a box was found by, and boxes in pixels of the image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Box, Detection, RgbImage
from x2i.models.hf.batches import alike


class PhraseDetector(ABC):
    """Images that are alike go through together, so that none is padded for another's sake."""

    def alike(self, image: RgbImage, phrases: Sequence[str]) -> Hashable:
        """Returns what images that go through together have in common: their size, and how many phrases they have."""
        return image.shape, len(phrases)

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns what was found of each image's phrases, best score first; nothing where there are no phrases."""
        found: list[list[Detection]] = [[] for _ in images]
        for group in alike(len(images), lambda n: self.alike(images[n], phrases[n])):
            if phrases[group[0]]:
                batch = [images[n] for n in group], [list(phrases[n]) for n in group]
                for number, detections in zip(group, self._detect(*batch), strict=True):
                    found[number] = sorted(detections, key=lambda detection: -detection.score)
        return found

    @abstractmethod
    def _detect(self, images: list[RgbImage], phrases: list[list[str]]) -> list[list[Detection]]:
        """Returns what was found of each image's phrases, which are not empty and equally many, in any order."""


def prompt_phrases(phrases: Sequence[str]) -> list[str]:
    """Returns phrases as Grounding DINO reads them: lower case, without the stops that part one from the next."""
    return [phrase.lower().replace(".", " ").strip() for phrase in phrases]


def phrase_of_each_box(scores_QT: Any, tokens_T: Any, tokenizer: Any, count: int) -> list[int]:
    """Returns for each box the number of the phrase that holds its best token.

    scores_QT: how well each token of the prompt "red car. tree." fits each box. count: phrases of the prompt.
    """
    import torch

    stop = tokenizer.convert_tokens_to_ids(".")
    after_T = (tokens_T == stop).cumsum(dim=0)
    owner_T = after_T - (tokens_T == stop).long()  # a phrase owns the stop behind it
    special_T = torch.isin(tokens_T, torch.tensor(tokenizer.all_special_ids, device=tokens_T.device))
    scores_QP = torch.stack(
        [
            scores_QT[:, : len(owner_T)].masked_fill(((owner_T != k) | special_T).to(scores_QT.device), -1).amax(1)
            for k in range(count)
        ],
        dim=1,
    )
    return list(scores_QP.argmax(dim=1).tolist())


def detections(
    image: RgbImage,
    boxes_Q4: np.ndarray,
    scores: Sequence[float],
    phrases: Sequence[str],
    masks: Sequence[NDArray[np.bool_]] | None = None,
) -> list[Detection]:
    """Returns boxes (x0, y0, x1, y1 in pixels, fractions allowed) cut at the image's border; empty ones are left out.

    masks: of the boxes, where the model has some; an empty one counts as none.
    """
    height, width = image.shape[:2]
    found = []
    own: Sequence[NDArray[np.bool_] | None] = [None] * len(scores) if masks is None else masks
    for box, score, phrase, mask_HW in zip(boxes_Q4, scores, phrases, own, strict=True):
        x0, y0 = (int(v) for v in np.floor(np.clip(box[:2], 0, (width, height))))
        x1, y1 = (int(v) for v in np.ceil(np.clip(box[2:], 0, (width, height))))
        if x0 < x1 and y0 < y1:
            has_mask = mask_HW is not None and mask_HW.any()
            found.append(Detection(Box(x0, y0, x1, y1), float(score), phrase, mask_HW if has_mask else None))
    return found
