"""Video files as a source: planning looks through each once at thumbnail size, and plans the frames worth taking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from x2i.crawl.locations import LocatedBytes, Location, stable_name
from x2i.crawl.sources.archives.files import files_digest, named_files, names_files
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import VideoOptions
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.videos.frame import decode_packet, open_video, read_frame, require_av
from x2i.crawl.sources.videos.scenes import Clip, FrameThumbnail, find_clips
from x2i.reasons import Dropped, DroppedError, Reason

if TYPE_CHECKING:
    from av import VideoFrame

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
THUMBNAIL_WIDTH = 96
THUMBNAILS_PER_SECOND = 12.0
_HDR = {16: "pq", 18: "hlg"}
"""Transfer characteristics (ITU-T H.273) of high dynamic range."""


class VideoSource(SourceKind):
    """A video, or several that a pattern names."""

    title = "video"
    looks_like = " ".join(SUFFIXES)
    options_class = VideoOptions

    @classmethod
    def accepts(cls, source: str) -> bool:
        return names_files(source, SUFFIXES)

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields frames of each video: after each cut and every `frame_interval` seconds, the sharpest near.

        Of more than `max_frames`, an even spread over the video is kept. A video that cannot be read is noted; one that
        breaks off gives what could be read, and a note.
        """
        for url in named_files(self.source):
            yield from _video_rows(url, self.options, notes)

    def digest(self) -> str:
        return files_digest(self.source)

    @classmethod
    def read_location(cls, location: Location, max_bytes: int, agent: str) -> LocatedBytes:
        return LocatedBytes(read_frame(location))


def _video_rows(url: str, options: VideoOptions, notes: PlanningNotes) -> Iterator[SourceRow]:
    name = stable_name(url).rpartition("/")[2]
    info = _VideoInfo()
    notes.pages += 1
    thumbnails = _thumbnails_before_damage(url, info, notes)
    clips = find_clips(thumbnails, options.frame_interval, options.scene_threshold)
    chosen = [(clip, frame_thumbnail) for clip in clips for frame_thumbnail in clip.frames]
    if info.damaged:
        detail = f"{info.damaged} damaged packets; what depends on them is skipped"
        notes.failures.append((url, Dropped(Reason.IMAGE_CORRUPT, detail)))
    if not chosen and not any(failed == url for failed, _ in notes.failures):
        notes.failures.append((url, Dropped(Reason.BODY_EMPTY, "the video holds no frame")))
    count = min(len(chosen), options.max_frames)
    for number in range(count):
        clip, frame_thumbnail = chosen[number * len(chosen) // count]
        yield _row(url, name, clip, frame_thumbnail, info)


def _thumbnails_before_damage(url: str, info: _VideoInfo, notes: PlanningNotes) -> Iterator[FrameThumbnail]:
    try:
        yield from _thumbnails(url, info)
    except DroppedError as error:
        notes.failures.append((url, error.verdict))


class _VideoInfo:
    """What is seen of a video beside its frames."""

    def __init__(self) -> None:
        self.bytes = 0
        self.damaged = 0
        self.hdr = ""
        self.interlaced = False


def _row(url: str, name: str, clip: Clip, frame_thumbnail: FrameThumbnail, info: _VideoInfo) -> SourceRow:
    seconds = f"{frame_thumbnail.seconds:.3f}"
    extra: dict[str, object] = {
        "video": name,
        "clip": clip.number,
        "seconds": round(frame_thumbnail.seconds, 3),
        "clip_start": round(clip.start, 3),
        "clip_end": round(clip.end, 3),
    }
    if info.hdr:
        extra["hdr"] = info.hdr
    if info.interlaced:
        extra["interlaced"] = True
    return SourceRow(
        url=f"{url}#t={seconds}",
        extra=extra,
        location=Location("video", url, frame_thumbnail.pts, 0, frame_thumbnail.key_pts),
        name=f"{stable_name(url)}@{info.bytes}#{frame_thumbnail.pts}",
    )


def _thumbnails(url: str, info: _VideoInfo) -> Iterator[FrameThumbnail]:
    """Yields thumbnails of a video's reference frames, at most about THUMBNAILS_PER_SECOND of them."""
    reformatter = require_av().video.reformatter.VideoReformatter()
    with open_video(url) as (container, video):
        info.bytes = container.size
        video.codec_context.options = video.codec_context.options | {"skip_loop_filter": "all"}
        first: int | None = None
        key_pts: int | None = None
        last, is_whole = -1.0, True
        for packet in container.demux(video):
            frames = decode_packet(packet)
            if frames is None or packet.is_corrupt:
                info.damaged += 1
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
                if last < 0 or seconds - last >= 1 / THUMBNAILS_PER_SECOND - 1e-6:
                    last = seconds
                    info.hdr = _HDR.get(frame.color_trc, "")
                    info.interlaced = frame.interlaced_frame
                    yield FrameThumbnail(frame.pts, key_pts, seconds, _thumbnail(frame, reformatter))


def _thumbnail(frame: VideoFrame, reformatter: Any) -> np.ndarray:
    height = max(2, round(THUMBNAIL_WIDTH * frame.height / frame.width))
    small = reformatter.reformat(frame, THUMBNAIL_WIDTH, height, "yuv444p", interpolation="AREA", threads=1)
    planes: np.ndarray = small.to_ndarray()
    return planes
