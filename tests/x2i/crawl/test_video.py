"""Frames of videos: found at cuts and intervals, decoded exactly, upright, the same in whatever order they are read."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.support.films import frame_pixels, make_film, make_sound
from x2i.crawl.locations import Location
from x2i.crawl.sources import kind_of, read_location
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import VideoOptions
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.videos.video import VideoSource
from x2i.reasons import DroppedError, Reason


def plan(path: Path, **options: Any) -> tuple[list[SourceRow], PlanningNotes]:
    notes = PlanningNotes()
    return list(VideoSource(str(path), VideoOptions(**options)).rows(notes)), notes


def read(row: SourceRow) -> bytes:
    assert row.location is not None
    return read_location(row.location, 1000).data


def read_or_reason(row: SourceRow) -> bytes | Reason:
    try:
        return read(row)
    except DroppedError as error:
        return error.verdict.reason


def pixels(row: SourceRow) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(read(row))).convert("RGB"))


def seconds(rows: Sequence[SourceRow]) -> list[float]:
    return [float(str(row.extra["seconds"])) for row in rows]


def test_each_scene_gives_a_frame_after_its_cut_and_one_per_interval(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", (2, 5, 1, 3))
    rows, notes = plan(path)
    assert [row.extra["clip"] for row in rows] == [0, 1, 1, 1, 2, 3, 3]
    for row, due in zip(rows, [0, 2, 4, 6, 7, 8, 10]):
        assert due <= float(str(row.extra["seconds"])) < due + 0.6
    starts = [(row.extra["clip_start"], row.extra["clip_end"]) for row in rows]
    assert [start for start, _ in starts] == pytest.approx([0, 2, 2, 2, 7, 8, 8], abs=0.1)
    assert [end for _, end in starts] == pytest.approx([2, 7, 7, 7, 8, 11, 11], abs=0.2)
    assert rows[0].extra["video"] == "film.mp4"
    assert rows[0].url == f"{path.as_uri()}#t={seconds(rows)[0]:.3f}"
    assert not notes.failures


def test_interval_threshold_and_budget_are_options(tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mp4", (4, 4))
    assert len(plan(path, frame_interval=0.5)[0]) > 13
    rows, _ = plan(path, frame_interval=100.0)
    assert [row.extra["clip"] for row in rows] == [0, 1]
    rows, _ = plan(path, frame_interval=100.0, scene_threshold=0.0)
    assert [row.extra["clip"] for row in rows] == [0]
    rows, _ = plan(path, frame_interval=0.5, max_frames=4)
    assert len(rows) == 4
    assert seconds(rows)[-1] > 5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("open-gop.mkv", {"options": {"x264-params": "open-gop=1:bframes=3:keyint=24:scenecut=0"}}),
        ("a.m4v", {"codec": "mpeg4"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.mov", {"codec": "mjpeg", "format": "yuvj420p"}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("hevc.mkv", {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none"}}),
        ("fragments.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
        ("variable.mkv", {"drop": 3}),
        ("ten-bit.mkv", {"format": "yuv420p10le"}),
    ],
)
def test_the_planned_frame_is_read_exactly_in_any_order(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = make_film(tmp_path / name, (2, 2), rate=12, key_frames=16, **options)
    rows, notes = plan(path, frame_interval=0.5)
    assert len(rows) >= 7
    assert not notes.failures
    found = {seconds([row])[0]: read(row) for row in rows}
    shuffled = random.Random(1).sample(rows, len(rows))
    assert all(read(row) == found[seconds([row])[0]] for row in shuffled)
    for row in rows:
        scene, number = divmod(round(seconds([row])[0] * 12), 24)
        near = range(max(0, number - 2), min(24, number + 3))
        shown = pixels(row).astype(int)
        distance = {n: np.abs(frame_pixels(scene, n / 24, 160, 120) - shown).mean() for n in near}
        assert min(distance, key=lambda n: distance[n]) == number
        assert distance[number] < 16


def test_threads_read_the_same_bytes(tmp_path: Path) -> None:
    rows, _ = plan(make_film(tmp_path / "a.mp4", (4, 4)), frame_interval=0.5)
    expected = [read(row) for row in rows]
    results: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        results[number] = [read(row) for row in rows[number::2]]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: expected[0::2], 1: expected[1::2]}


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_turned_video_comes_out_upright(tmp_path: Path, rotation: int) -> None:
    path = make_film(tmp_path / "a.mp4", (2,), rotation=rotation)
    row = plan(path)[0][0]
    found, at = pixels(row), seconds([row])[0]
    with av.open(str(path)) as file:
        assert (next(file.decode(video=0)).rotation - rotation) % 360 == 0
    expected = np.rot90(frame_pixels(0, at / 2, 160, 120), k=rotation // 90)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 16


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    from fractions import Fraction

    path = make_film(tmp_path / "a.mp4", (1,), sample_aspect_ratio=Fraction(4, 3))
    [row] = plan(path)[0]
    assert pixels(row).shape == (120, 213, 3)


def test_colors_follow_the_matrix_that_size_implies(tmp_path: Path) -> None:
    """Without a matrix in the file, green of BT.601 and of BT.709 differ by about 20."""
    for size, matrix in (((160, 120), "ITU601"), ((1280, 720), "ITU709")):
        path = tmp_path / f"{matrix}.mkv"
        plain = np.zeros((size[1], size[0], 3), np.uint8)
        plain[:] = (20, 200, 40)
        with av.open(str(path), "w") as file:
            stream: Any = file.add_stream("ffv1", rate=5)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
            for number in range(5):
                frame = av.VideoFrame.from_ndarray(plain).reformat(format="yuv444p", dst_colorspace=matrix)
                frame.pts, frame.colorspace = number, 2
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        [row] = plan(path)[0]
        assert np.abs(pixels(row).astype(int) - plain).max() <= 3, matrix


def test_hdr_and_interlaced_are_told(tmp_path: Path) -> None:
    path = make_film(tmp_path / "hdr.mkv", (1,), format="yuv420p10le", color_trc=16, color_primaries=9, colorspace=9)
    assert plan(path)[0][0].extra["hdr"] == "pq"
    path = make_film(tmp_path / "tv.mkv", (1,), options={"x264-params": "interlaced=1"})
    assert plan(path)[0][0].extra["interlaced"] is True


def test_files_that_are_no_video_are_noted(tmp_path: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"no video" * 1000)
    (tmp_path / "empty.mkv").write_bytes(b"")
    film = make_film(tmp_path / "film.mp4", (1,))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{film.as_uri()}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.mp4").write_text(playlist)
    (tmp_path / "concat.mkv").write_text(f"ffconcat version 1.0\nfile '{film}'\n")
    make_sound(tmp_path / "sound.mp4")
    for name in ("junk.mp4", "empty.mkv", "list.mp4", "concat.mkv", "sound.mp4"):
        rows, notes = plan(tmp_path / name)
        assert rows == [], name
        assert len(notes.failures) == 1, name
    assert notes.failures[0][1].reason is Reason.NOT_AN_IMAGE


def test_a_video_that_breaks_off_gives_what_it_holds(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mkv", (4, 4), key_frames=12)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 5 // 8])
    rows, _ = plan(path)
    assert 2 <= len(rows) <= 4
    assert all(pixels(row).shape == (120, 160, 3) for row in rows)
    whole = make_film(tmp_path / "b.mp4", (2,))
    whole.write_bytes(whole.read_bytes()[:-2000])  # the index stands at the end
    rows, notes = plan(whole)
    assert (rows, len(notes.failures)) == ([], 1)


def test_damage_in_the_middle_costs_little_and_is_noted(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mp4", (4, 4), key_frames=12)
    data = bytearray(path.read_bytes())
    rows, _ = plan(path)
    before = [read(row) for row in rows]
    middle = len(data) // 2
    data[middle : middle + 3000] = random.Random(0).randbytes(3000)
    path.write_bytes(data)
    left, notes = plan(path)
    assert [verdict.reason for _, verdict in notes.failures] == [Reason.IMAGE_CORRUPT]
    whole = {row.url: data for row, data in zip(rows, before)}
    assert len(left) >= 3
    assert all(read(row) == whole.get(row.url, read(row)) for row in left)
    outcomes = [read_or_reason(row) for row in rows]
    hurt = [outcome for outcome, expected in zip(outcomes, before) if outcome != expected]
    assert hurt in ([], [Reason.IMAGE_CORRUPT])


def test_metadata_in_an_unknown_encoding_harms_nothing(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mkv", (1,))
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"\xff\xfeXX"))
    assert len(plan(path)[0]) == 1


def test_a_frame_that_is_not_there_any_more_is_dropped(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mp4", (1,))
    [row] = plan(path)[0]
    read(row)
    assert row.location is not None
    for location, reason in [
        (Location("video", path.as_uri(), 10**9, 0, 0), Reason.IMAGE_CORRUPT),
        (Location("video", path.as_uri(), 7, 0, 0), Reason.IMAGE_CORRUPT),
        (Location("video", (tmp_path / "gone.mp4").as_uri()), Reason.FILE_ERROR),
    ]:
        with pytest.raises(DroppedError) as caught:
            read_location(location, 1000)
        assert caught.value.verdict.reason is reason


def test_a_video_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.MP4").write_bytes(b"")
    assert kind_of(str(tmp_path / "a.MP4")) is VideoSource
