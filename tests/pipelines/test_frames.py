"""A film with moving objects and cuts, rendered over photographs: what is mined of it is what was drawn."""

from __future__ import annotations

import json
import re
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.materialize import MaterializeStage
from pipelines.stages.relate.frames import FramePairsStage, SubjectFramesStage
from tests.support.crawling import crawl_stage
from tests.support.photos import commit, ellipse, photo
from x2i.image.rle import decode_mask, encode_mask
from x2i.models.classic.flow import follow
from x2i.relate.camera import still_blocks
from x2i.store import Dataset
from x2i.store.columns import write_column
from x2i.store.query.views import list_views
from x2i.tables import TableSpec

INLINE = RunOptions(executor=Executor.INLINE)
WIDTH, HEIGHT, RATE, SECONDS = 320, 240, 8, 10
MOVES, COMES, PANS = 0, 1, 2
BACKGROUNDS = ("coffee", "rocket", "chelsea")


def object_at(scene: int, progress: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the matrix that places the astronaut's face in a scene, and its mask there; None in the last scene."""
    if scene == PANS:
        return None
    size = 70 if scene == MOVES else 50 * (1 + progress)
    x, y = (40 + 150 * progress, 90) if scene == MOVES else (140 - size / 2, 110 - size / 2)
    matrix = np.array([[size / 100, 0, x], [0, size / 100, y]])
    mask = cv2.warpAffine(ellipse(100, 100, 0.5, 0.5, 0.48).astype(np.uint8), matrix, (WIDTH, HEIGHT)) > 0
    return matrix, mask


def frame(scene: int, progress: float) -> np.ndarray:
    background = cv2.resize(photo(BACKGROUNDS[scene], 512), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_AREA)
    x, y = (round(progress * WIDTH), round(progress * HEIGHT / 2)) if scene == PANS else (100, 100)
    image = np.ascontiguousarray(background[y : y + HEIGHT, x : x + WIDTH])
    placed = object_at(scene, progress)
    if placed is not None:
        face = np.ascontiguousarray(photo("astronaut", 512)[60:160, 170:270])
        image[placed[1]] = cv2.warpAffine(face, placed[0], (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)[placed[1]]
    return image


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("film")
    with av.open(str(folder / "film.mp4"), "w") as file:
        stream: Any = file.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(3 * SECONDS * RATE):
            scene, index = divmod(number, SECONDS * RATE)
            shown = av.VideoFrame.from_ndarray(frame(scene, index / (SECONDS * RATE)))
            shown.pts = number
            file.mux(stream.encode(shown))
        file.mux(stream.encode())
    dataset = Dataset.create(folder / "data")
    stage = crawl_stage(sources=(str(folder / "film.mp4"),), frame_interval=1.0, partition_size=64)
    assert execute([stage], dataset, INLINE)[0].failed == {}
    write_entities(dataset)
    for stage in (SubjectFramesStage(every=2, similarity=(0.3, 0.995)), FramePairsStage(span=3)):
        assert execute([stage], dataset, INLINE)[0].failed == {}
    return dataset


def frames(dataset: Dataset) -> dict[str, tuple[int, float]]:
    """Returns key -> scene and progress in it."""
    found = {}
    for row in dataset.images(["key", "extra"]).to_pylist():
        said = json.loads(row["extra"])
        found[row["key"]] = (said["clip"], (said["seconds"] - said["clip"] * SECONDS) / SECONDS)
    return found


def write_entities(dataset: Dataset) -> None:
    """The face in every frame that shows it, as a detector would find it."""
    rows = []
    for key, (scene, progress) in frames(dataset).items():
        placed = object_at(scene, progress)
        if placed is not None:
            ys, xs = np.nonzero(placed[1])
            box = {"x0": int(xs.min()), "y0": int(ys.min()), "x1": int(xs.max()) + 1, "y1": int(ys.max()) + 1}
            row = {"key": key, "entity": 0, "label": "smiling face", "phrase": "smiling face", "score": 0.8, **box}
            row |= {"area_share": float(placed[1].mean()), "mask_size": [HEIGHT, WIDTH]}
            rows.append({**row, "mask_counts": encode_mask(placed[1])})
    table = pa.Table.from_pylist(rows)
    spec = TableSpec("entities", "entities", "detect", table.schema, rows="many")
    commit(dataset.root, "entities", "00000", (write_column(dataset.root, "entities", "00000", table, spec),))


def test_cuts_are_where_they_are(film: Dataset) -> None:
    assert {scene for scene, _ in frames(film).values()} == {MOVES, COMES, PANS}
    assert all(0 <= progress < 1 for _, progress in frames(film).values())


def test_a_subject_is_taken_from_a_later_frame_of_its_clip_at_its_place_there(film: Dataset) -> None:
    rows, known = film.relation("subject_frames").to_pylist(), frames(film)
    assert {known[row["target"]][0] for row in rows} == {MOVES, COMES}
    for row in rows:
        [source], [phrase], [size] = row["inputs"], row["phrases"], row["sizes"]
        (scene, at), (other, later) = known[row["target"]], known[source]
        assert (scene, phrase, row["kind"]) == (other, "smiling face", "video")
        assert later > at
        _, truth = object_at(scene, later)
        mask = decode_mask(row["masks"][0], *size)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.75


def test_only_a_still_camera_gives_frame_pairs_and_the_motion_is_the_one_drawn(film: Dataset) -> None:
    rows, known = film.relation("frame_pairs").to_pylist(), frames(film)
    assert {known[row["before"]][0] for row in rows} == {MOVES, COMES}
    for row in rows:
        (scene, at), (other, later) = known[row["before"]], known[row["after"]]
        assert scene == other
        if row["phrase"] is None:
            continue
        (a, _), (b, _) = object_at(scene, at), object_at(scene, later)
        middle = [50, 50, 1]
        shift = (b @ middle - a @ middle) / [WIDTH, HEIGHT]
        assert row["shift"] == pytest.approx(shift.tolist(), abs=0.02)
        assert row["scale"] == pytest.approx(b[0, 0] / a[0, 0], abs=0.06)
    assert any(row["phrase"] for row in rows)


def test_recipes_of_frames_make_samples(film: Dataset) -> None:
    names = ("frame_subject_to_image", "frame_edit", "next_frame", "third_frame")
    for summary in execute([MaterializeStage(recipe=name) for name in names], film, INLINE):
        assert summary.failed == {}
    known = frames(film)
    said = {task: [(sample, images) for sample, images in film.samples(task=task)] for task in names}
    assert all(said.values())
    for sample, _ in said["frame_edit"]:
        back = sample.key.endswith("-back")
        words = {False: ("to the right", "closer"), True: ("to the left", "farther away")}[back]
        assert any(word in sample.instruction for word in words), sample.instruction
    for sample, _ in said["third_frame"]:
        shown = [known[key] for key in re.findall(r"\d{5}-\d{5}", sample.key)]
        assert len(shown) == 3
        assert shown == sorted(shown)
        assert len({scene for scene, _ in shown}) == 1
    assert "subject_frames" in list_views(film)


def test_an_object_is_followed_where_it_went_and_not_found_where_it_is_not() -> None:
    before, after, elsewhere = frame(MOVES, 0.1), frame(MOVES, 0.4), frame(PANS, 0.2)
    mask = object_at(MOVES, 0.1)[1]
    found = follow(before, after, mask)
    truth = object_at(MOVES, 0.4)[1]
    assert found is not None
    assert (found.mask_HW & truth).sum() / (found.mask_HW | truth).sum() > 0.85
    assert follow(before, elsewhere, mask) is None
    assert follow(before, after, np.zeros_like(mask)) is None


def test_blocks_stay_before_a_still_camera_and_change_when_it_turns() -> None:
    assert still_blocks(frame(MOVES, 0.1), frame(MOVES, 0.5)).mean() > 0.7
    assert still_blocks(frame(PANS, 0.1), frame(PANS, 0.5)).mean() < 0.4
