"""Video files as a source: planning looks through each once at thumbnail size, and plans the frames worth taking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from x2i.crawl.locations import Location, LocationKind, stable_name
from x2i.crawl.sources.archives.files import named_files, names_files
from x2i.crawl.sources.kind import PlanningNotes, SourceOptions
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.videos.frame import decode_packet, open_video, require_av
from x2i.crawl.sources.videos.scenes import Clip, Glance, find_clips
from x2i.reasons import Dropped, DroppedError, Reason

if TYPE_CHECKING:
    from av import VideoFrame

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
THUMBNAIL_WIDTH = 96
GLANCES_PER_SECOND = 12.0
_HDR = {16: "pq", 18: "hlg"}
"""Transfer characteristics (ITU-T H.273) of high dynamic range."""


def is_video(source: str) -> bool:
    return names_files(source, SUFFIXES)


def video_rows(source: str, options: SourceOptions, notes: PlanningNotes) -> Iterator[SourceRow]:
    """Yields frames of a video (see SourceKind): after each cut and every `frame_interval` seconds, the sharpest near.

    Of more than `max_frames`, an even spread over the video is kept. A video that cannot be read is noted; one that
    breaks off gives what could be read, and a note.
    """
    for url in named_files(source):
        yield from _video_rows(url, options, notes)


def _video_rows(url: str, options: SourceOptions, notes: PlanningNotes) -> Iterator[SourceRow]:
    name = stable_name(url).rpartition("/")[2]
    found = _Found()
    notes.pages += 1
    glances = _until_damage(url, found, notes)
    clips = find_clips(glances, options.frame_interval, options.scene_threshold)
    chosen = [(clip, glance) for clip in clips for glance in clip.frames]
    if found.damaged:
        detail = f"{found.damaged} damaged packets; what depends on them is passed over"
        notes.failures.append((url, Dropped(Reason.IMAGE_CORRUPT, detail)))
    if not chosen and not any(failed == url for failed, _ in notes.failures):
        notes.failures.append((url, Dropped(Reason.BODY_EMPTY, "the video holds no frame")))
    count = min(len(chosen), options.max_frames)
    for number in range(count):
        clip, glance = chosen[number * len(chosen) // count]
        yield _row(url, name, clip, glance, found)


def _until_damage(url: str, found: _Found, notes: PlanningNotes) -> Iterator[Glance]:
    try:
        yield from _glances(url, found)
    except DroppedError as error:
        notes.failures.append((url, error.verdict))


class _Found:
    """What is seen of a video beside its frames."""

    def __init__(self) -> None:
        self.bytes = 0
        self.damaged = 0
        self.hdr = ""
        self.interlaced = False


def _row(url: str, name: str, clip: Clip, glance: Glance, found: _Found) -> SourceRow:
    seconds = f"{glance.seconds:.3f}"
    extra: dict[str, object] = {
        "video": name,
        "clip": clip.number,
        "seconds": round(glance.seconds, 3),
        "clip_start": round(clip.start, 3),
        "clip_end": round(clip.end, 3),
    }
    if found.hdr:
        extra["hdr"] = found.hdr
    if found.interlaced:
        extra["interlaced"] = True
    return SourceRow(
        url=f"{url}#t={seconds}",
        extra=extra,
        location=Location(LocationKind.FRAME, url, glance.pts, 0, glance.key_pts),
        name=f"{stable_name(url)}@{found.bytes}#{glance.pts}",
    )


def _glances(url: str, found: _Found) -> Iterator[Glance]:
    """Yields thumbnails of a video's reference frames, at most about GLANCES_PER_SECOND; the decoder skips the rest."""
    reformatter = require_av().video.reformatter.VideoReformatter()
    with open_video(url) as (container, video):
        found.bytes = container.size
        video.codec_context.options = video.codec_context.options | {"skip_loop_filter": "all"}
        first: int | None = None
        key_pts: int | None = None
        last, is_whole = -1.0, True
        for packet in container.demux(video):
            frames = decode_packet(packet)
            if frames is None or packet.is_corrupt:
                found.damaged += 1
                is_whole = False
            for frame in frames or ():
                if frame.pts is None or frame.is_corrupt:
                    continue
                if frame.key_frame:
                    key_pts, is_whole = frame.pts, True
                if key_pts is None or not is_whole:
                    continue
                first = frame.pts if first is None else first
                seconds = float((frame.pts - first) * frame.time_base)
                if last < 0 or seconds - last >= 1 / GLANCES_PER_SECOND - 1e-6:
                    last = seconds
                    found.hdr = _HDR.get(frame.color_trc, "")
                    found.interlaced = frame.interlaced_frame
                    yield Glance(frame.pts, key_pts, seconds, _thumbnail(frame, reformatter))


def _thumbnail(frame: VideoFrame, reformatter: Any) -> np.ndarray:
    height = max(2, round(THUMBNAIL_WIDTH * frame.height / frame.width))
    small = reformatter.reformat(frame, THUMBNAIL_WIDTH, height, "yuv444p", interpolation="AREA", threads=1)
    planes: np.ndarray = small.to_ndarray()
    return planes
