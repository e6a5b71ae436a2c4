"""Image editors: real loading code, one result whatever the batch, answers of a server checked."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.chat_server import EditServer
from tests.support.photos import photo
from tests.support.tiny_editors import save_inpainting, save_pix2pix
from x2i.annotate.base import Found, StoredImage
from x2i.annotate.edits import Edits
from x2i.errors import UserError
from x2i.image import decode, encode
from x2i.image.alignment import AlignmentKind, measure_alignment
from x2i.models.registry import Ability, backend, load
from x2i.reasons import Dropped, Reason


@pytest.fixture(scope="module")
def pix2pix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pix2pix(tmp_path_factory.mktemp("models") / "pix2pix")


def test_a_diffusers_pipeline_edits_each_image_as_if_it_were_alone(pix2pix: Path) -> None:
    editor = load(Ability.IMAGE_EDITOR, f"diffusers:{pix2pix}", {"side": 64, "steps": 2, "device": "cpu"})
    images = [photo("astronaut", 64), photo("coffee", 96)]
    told, seeds = ["make it red", "add a dog"], [1, 2**63 + 5]
    together = editor.edit(images, told, seeds)
    for image, made, words, seed in zip(images, together, told, seeds):
        (alone,) = editor.edit([image], [words], [seed])
        assert made.shape == image.shape
        assert made.dtype == np.uint8
        assert np.array_equal(made, alone)
    (other,) = editor.edit(images[:1], told[:1], [3])
    assert not np.array_equal(other, together[0])


def test_the_digest_of_a_pipeline_is_that_of_the_weights_in_its_folders(pix2pix: Path, tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        return backend(Ability.IMAGE_EDITOR, f"diffusers:{folder}").resolve()

    changed = Path(shutil.copytree(pix2pix, tmp_path / "changed"))
    assert digest(changed) == digest(pix2pix)
    weights = next((changed / "unet").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert digest(changed) != digest(pix2pix)


def test_styles_change_the_look_and_keep_the_frame() -> None:
    editor = load(Ability.IMAGE_EDITOR, "onnx:style")
    image = photo("coffee", 256)
    sketch, unknown = editor.edit([image, image], ["an old engraving in ochre and black", "a fresco"], [0, 0])
    assert sketch.shape == image.shape
    assert np.abs(sketch.astype(int) - image).mean() > 15
    assert measure_alignment(image, sketch).kind is AlignmentKind.IDENTITY
    assert isinstance(unknown, Dropped)


def test_a_server_is_sent_the_picture_once_and_faulty_answers_are_verdicts(tmp_path: Path) -> None:
    image = photo("coffee", 64)
    negative = base64.b64encode(encode(255 - image, "png")).decode()
    with EditServer([503, negative, "bm8gaW1hZ2U=", 400]) as server:
        options = {"cache": str(tmp_path), "concurrency": 1, "retries": 2}
        editor = load(Ability.IMAGE_EDITOR, f"openai:{server.url}#painter", options)
        made, broken, refused = editor.edit([image] * 3, ["invert", "break", "refuse"], [1, 2, 3])
        assert np.array_equal(made, 255 - image)
        assert (broken.reason, refused.reason) == (Reason.ANSWER_INVALID, Reason.BACKEND_ERROR)
        assert np.array_equal(decode(server.seen[1]["image"]), image)
        assert server.seen[1]["prompt"] == "invert"
        asked = len(server.seen)
        (again,) = editor.edit([image], ["invert"], [1])
        assert np.array_equal(again, made)
        assert len(server.seen) == asked


def test_instructions_come_from_a_column_of_a_writer_or_from_a_list() -> None:
    def stored(key: str, told: str | None) -> StoredImage:
        return StoredImage(key, {}, {"words": [{"caption": told}]}, photo("coffee", 64))

    style = "a faded blue watercolor"
    made, none = Edits(instructions_from="words").load().annotate([stored("a", style), stored("b", None)])
    assert not isinstance(made, Dropped | Found)
    assert made["instruction"] == style
    assert decode(made["edited"]["bytes"]).shape == photo("coffee", 64).shape
    assert isinstance(none, Dropped)
    drawn = Edits().load().annotate([stored(f"{number}", None) for number in range(6)])
    assert len({row["instruction"] for row in drawn}) > 2
    with pytest.raises(UserError, match="--instructions"):
        Edits(model="openai:http://localhost:1/v1#m").config()


def test_a_diffusers_pipeline_fills_the_hole_and_touches_nothing_else(tmp_path: Path) -> None:
    options = {"side": 64, "steps": 2, "device": "cpu"}
    inpainter = load(Ability.INPAINTER, f"diffusers:{save_inpainting(tmp_path / 'inpainting')}", options)
    images = [photo("astronaut", 64), photo("coffee", 96)]
    masks = [np.zeros(image.shape[:2], bool) for image in images]
    for mask in masks:
        mask[10:30, 20:40] = True
    together = inpainter.inpaint(images, masks)
    for image, mask, filled in zip(images, masks, together):
        (alone,) = inpainter.inpaint([image], [mask])
        assert np.array_equal(filled, alone)
        assert np.array_equal(filled[~mask], image[~mask])
        assert not np.array_equal(filled[mask], image[mask])
