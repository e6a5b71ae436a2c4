"""Normals, poses, semantic segmentation and matting by transformers, on tiny networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from tests.support import tiny_maps
from tests.support.photos import photo
from x2i.errors import UserError
from x2i.models.abilities import Box
from x2i.models.registry import Ability, backend, load

COFFEE, ASTRONAUT = photo("coffee", 128).copy(), photo("astronaut", 96).copy()
PEOPLE = [Box(10, 10, 60, 80), Box(50, 20, 100, 70)]


def trimap(image):
    levels_HW = np.zeros(image.shape[:2], np.uint8)
    levels_HW[20:60, 20:60] = 128
    levels_HW[30:50, 30:50] = 255
    return levels_HW


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("hf")
    names = ("normals", "vitpose", "segformer", "mask2former", "oneformer", "vitmatte")
    return {name: getattr(tiny_maps, f"save_{name}")(root / name) for name in names}


def direct(folder, kind, **inputs):
    """Returns (processor, outputs) of a plain call of the library."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = kind.from_pretrained(folder)
    with torch.no_grad():
        return processor, model(**processor(images=COFFEE, return_tensors="pt", **inputs))


def test_normals_are_what_the_library_estimates(folders):
    found_HW3 = load(Ability.NORMAL_ESTIMATOR, f"hf:{folders['normals']}").normals([COFFEE])[0]
    processor, outputs = direct(folders["normals"], transformers.Sapiens2ForNormalEstimation)
    expected = processor.post_process_normal_estimation(outputs, source_sizes=[COFFEE.shape[:2]])[0]["normals"]
    expected_HW3 = torch.nn.functional.normalize(expected, dim=0).permute(1, 2, 0).numpy()
    assert np.abs(found_HW3 - expected_HW3).max() < 1e-5
    assert np.allclose(np.linalg.norm(found_HW3, axis=2), 1, atol=1e-5)


def test_poses_are_what_the_library_estimates(folders):
    ((*found,),) = load(Ability.POSE_ESTIMATOR, f"hf:{folders['vitpose']}").poses([COFFEE], [PEOPLE])
    boxes = [np.array([(b.x0, b.y0, b.x1 - b.x0, b.y1 - b.y0) for b in PEOPLE], np.float32)]
    processor, outputs = direct(folders["vitpose"], transformers.VitPoseForPoseEstimation, boxes=boxes)
    expected = processor.post_process_pose_estimation(outputs, boxes=boxes)[0]
    for pose, other in zip(found, expected, strict=True):
        assert pose.keypoints_K2.shape == (17, 2)
        assert np.allclose(pose.keypoints_K2, other["keypoints"], atol=1e-3)
        assert np.allclose(pose.scores_K, other["scores"].clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("segformer", transformers.SegformerForSemanticSegmentation),
        ("mask2former", transformers.Mask2FormerForUniversalSegmentation),
    ],
)
def test_classes_are_what_the_library_finds(folders, name, kind):
    segmenter = load(Ability.SEMANTIC_SEGMENTER, f"hf:{folders[name]}")
    found_HW = segmenter.classes([COFFEE])[0]
    processor, outputs = direct(folders[name], kind)
    expected = processor.post_process_semantic_segmentation(outputs, target_sizes=[COFFEE.shape[:2]])[0]
    assert np.array_equal(found_HW, expected.numpy())
    assert len(np.unique(found_HW)) > 1
    assert len(segmenter.labels) == (150 if name == "segformer" else 5)


def test_classes_of_a_model_that_is_told_its_task_are_what_the_library_finds(folders):
    segmenter = load(Ability.SEMANTIC_SEGMENTER, f"hf:{folders['oneformer']}")
    processor = transformers.OneFormerProcessor.from_pretrained(folders["oneformer"])
    inputs = processor(images=COFFEE, task_inputs=["semantic"], return_tensors="pt")
    model = transformers.OneFormerForUniversalSegmentation.from_pretrained(folders["oneformer"])
    with torch.no_grad():
        outputs = model(**inputs)
    expected = processor.post_process_semantic_segmentation(outputs, target_sizes=[COFFEE.shape[:2]])[0]
    found_HW = segmenter.classes([COFFEE])[0]
    assert np.array_equal(found_HW, expected.numpy())
    assert len(np.unique(found_HW)) > 1


def test_mattes_are_what_the_library_estimates(folders):
    found_HW = load(Ability.MATTER, f"hf:{folders['vitmatte']}").alphas([COFFEE], [trimap(COFFEE)])[0]
    _, outputs = direct(folders["vitmatte"], transformers.VitMatteForImageMatting, trimaps=trimap(COFFEE))
    expected_HW = outputs.alphas[0, 0, : COFFEE.shape[0], : COFFEE.shape[1]].numpy()
    assert np.abs(found_HW - expected_HW).max() < 1e-5
    assert np.ptp(found_HW) > 1e-3


def test_a_batch_of_several_sizes_is_as_its_images_alone(folders):
    images = [COFFEE, ASTRONAUT, COFFEE[:, ::-1].copy()]
    people, trimaps = [PEOPLE, [], PEOPLE[1:]], [trimap(image) for image in images]
    normals = load(Ability.NORMAL_ESTIMATOR, f"hf:{folders['normals']}")
    for image, alone in zip(images, normals.normals(images)):
        assert np.abs(normals.normals([image])[0] - alone).max() < 1e-4
    matter = load(Ability.MATTER, f"hf:{folders['vitmatte']}")
    for image, levels, alone in zip(images, trimaps, matter.alphas(images, trimaps)):
        assert np.abs(matter.alphas([image], [levels])[0] - alone).max() < 1e-4
    for name in ("segformer", "mask2former", "oneformer"):
        segmenter = load(Ability.SEMANTIC_SEGMENTER, f"hf:{folders[name]}")
        for image, alone in zip(images, segmenter.classes(images)):
            assert (segmenter.classes([image])[0] != alone).mean() < 1e-3
    estimator = load(Ability.POSE_ESTIMATOR, f"hf:{folders['vitpose']}")
    together = estimator.poses(images, people)
    assert [len(poses) for poses in together] == [2, 0, 1]
    for image, boxes, poses in zip(images, people, together):
        for pose, alone in zip(poses, estimator.poses([image], [boxes])[0], strict=True):
            assert np.allclose(pose.keypoints_K2, alone.keypoints_K2, atol=1e-2)


@pytest.mark.parametrize("ability", ["NORMAL_ESTIMATOR", "POSE_ESTIMATOR", "SEMANTIC_SEGMENTER", "MATTER"])
def test_a_model_that_is_nowhere_or_of_another_kind_is_told_in_words(ability, monkeypatch, tmp_path):
    from tests.support.tiny_models import save_depth_model

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="model 'nobody/nothing': no such folder"):
        backend(Ability[ability], "hf:nobody/nothing").resolve()
    with pytest.raises(UserError, match="cannot be loaded as \\w+: .+") as caught:
        load(Ability[ability], f"hf:{save_depth_model(tmp_path / 'depth')}")
    assert "\n" not in str(caught.value)
