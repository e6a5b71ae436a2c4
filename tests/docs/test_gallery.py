"""The gallery: a page whose pictures are there, of a dataset as small as can be."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from pipelines.gallery.dataset import Built
from pipelines.gallery.page import write_page
from pipelines.gallery.showcases import showcases
from tests.support.photographs import photograph
from tests.support.stored_images import Given, store


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory):
    """A folder with the gallery of three photographs, two of them the same."""
    root = tmp_path_factory.mktemp("gallery")
    names = ("coffee.png", "rocket.jpg", "rocket.jpg")
    dataset = store(root / "data", [Given(photograph(name, 128), alt=name) for name in names])
    for step in ("quality", "captions", "edges", "dedup"):
        dataset.run(step)
    dataset.run("materialize", max_side=64, recipes={"inpaint": {}})
    scenes, stereo = store(root / "scenes", []), store(root / "stereo", [Given(photograph("motorcycle_left.png"))])
    [depth] = [one for one in showcases(None) if one.name == "depth"]
    stereo.run("depth", **depth.columns["depth"])
    stereo.run("materialize", max_side=64, recipes={"image_to_depth": {}})
    missing = {"segmentation": "needs the weights of hf:segmenter"}
    write_page(Built(dataset, scenes, ((depth, stereo),), missing), root / "gallery")
    return root / "gallery"


def test_every_picture_of_the_page_is_there(gallery):
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (gallery / "index.md").read_text())
    assert {path.split("/")[0] for path in shown} == {"scores", "columns", "relations", "tasks"}
    for path in shown:
        with Image.open(gallery / path) as picture:
            assert min(picture.size) > 100


def test_what_is_not_drawn_is_named_with_the_reason(gallery):
    rows = (gallery / "index.md").read_text().partition("## Not drawn")[2]
    assert "| `segmentation` | needs the weights of hf:segmenter |" in rows
    assert "| `subject_pair` |" in rows
    assert "| `inpaint` |" not in rows
    assert "| `image_to_depth` |" not in rows


def test_the_instruction_stands_above_its_sample(gallery):
    part = (gallery / "index.md").read_text().partition("#### inpaint")[2].partition("####")[0]
    assert "&lt;img>" in part
    assert part.index("> ") < part.index("tasks/inpaint.webp")


@pytest.mark.parametrize("heading", ["### depth", "#### image_to_depth"])
def test_a_map_that_no_model_made_is_said_to_be_measured(gallery, heading):
    part = (gallery / "index.md").read_text().partition(f"{heading}\n")[2].partition("#")[0]
    assert "No model made this map" in part
    assert ".webp)" in part
