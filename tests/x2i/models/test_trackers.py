"""Trackers: an object is found where it went, and SAM2 for films says what the library says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.photos import ellipse, photo
from tests.support.tiny_detectors import save_sam2, save_sam2_video
from x2i.errors import UserError
from x2i.models.registry import Ability, load


def clip(count: int = 4) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A face that moves over coffee, and its mask in each frame."""
    ground, face = photo("coffee", 160), photo("astronaut", 512)[60:120, 190:250]
    disc = ellipse(60, 60, 0.5, 0.5, 0.48)
    frames, masks = [], []
    for number in range(count):
        image, mask = ground.copy(), np.zeros(ground.shape[:2], bool)
        top, left = 20, 10 + 20 * number
        mask[top : top + 60, left : left + 60] = disc
        image[mask] = face[disc]
        frames.append(image)
        masks.append(mask)
    return frames, masks


def test_flow_follows_an_object_and_a_cut_loses_it_for_good() -> None:
    frames, masks = clip()
    found = list(
        load(Ability.TRACKER, "classic:flow").track(iter([*frames, photo("rocket", 160), frames[3]]), masks[:1])
    )
    assert len(found) == 5
    for [tracked], truth in zip(found, masks[1:]):
        assert (tracked.mask_HW & truth).sum() / (tracked.mask_HW | truth).sum() > 0.85
        assert tracked.box == pytest.approx(_box(truth), abs=4)
    assert found[3:] == [[None], [None]]


def _box(mask: np.ndarray) -> tuple[int, ...]:
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_sam2_follows_objects_as_the_library_does(tmp_path: Path) -> None:
    import torch
    from transformers import AutoProcessor, Sam2VideoModel

    folder = save_sam2_video(tmp_path / "sam2")
    frames, masks = clip(3)
    objects = [masks[0], masks[2]]
    found = list(load(Ability.TRACKER, f"hf:{folder}", {"device": "cpu"}).track(iter(frames), objects))
    model, processor = Sam2VideoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    session = processor.init_video_session(video=frames)
    processor.add_inputs_to_inference_session(session, frame_idx=0, obj_ids=[0, 1], input_masks=objects)
    with torch.no_grad():
        outputs = [model(session, frame_idx=number) for number in range(3)][1:]
    assert len(found) == 2
    for tracked, output in zip(found, outputs):
        [expected] = processor.post_process_masks([output.pred_masks], [list(frames[0].shape[:2])])
        assert len(tracked) == 2
        for one, mask, logit in zip(tracked, expected[:, 0].numpy(), output.object_score_logits.flatten().tolist()):
            assert (one is not None) == (logit > 0 and bool(mask.any()))
            if one is not None:
                assert (one.mask_HW == mask).mean() > 0.999
                assert one.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)
    assert any(one is not None for tracked in found for one in tracked)


def test_a_model_for_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="follows no objects"):
        load(Ability.TRACKER, f"hf:{save_sam2(tmp_path / 'sam2')}", {"device": "cpu"})
