"""One frame of a video as an image: opened safely, decoded from the key frame before it, upright and in sRGB."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from x2i.crawl.locations import Location, is_local, local_path, open_url
from x2i.errors import UserError
from x2i.image.decode import DEFAULT_MAX_PIXELS
from x2i.reasons import DroppedError, Reason

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

FORMATS = "mov,mp4,matroska,webm,avi"
"""No playlist and no list of files: those can name other files and addresses."""
_UNSPECIFIED, _BT709 = 2, 1
_HD_HEIGHT = 720
_held = threading.local()


@contextmanager
def open_video(url: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens the first video stream of a file. Its decoder runs in the calling thread alone, gives the frames that
    others refer to and no more, and calls damage an error instead of painting over it.

    Raises DroppedError: FILE_ERROR, NOT_AN_IMAGE (no video in it), UNSUPPORTED_FORMAT (no decoder), TOO_MANY_PIXELS,
    and IMAGE_CORRUPT for anything else that FFmpeg says while the block runs.
    """
    with ffmpeg_errors(), _open(url) as container:
        yield container, _first_video(container)


@contextmanager
def ffmpeg_errors() -> Iterator[None]:
    """Turns what FFmpeg, or the file below it, raises into the DroppedError that says so."""
    try:
        yield
    except require_av().FFmpegError as error:
        reason = Reason.FILE_ERROR if isinstance(error, OSError) else Reason.IMAGE_CORRUPT
        raise DroppedError(reason, f"{type(error).__name__}: {error.strerror or error}"[:200]) from error
    except OSError as error:
        raise DroppedError(Reason.FILE_ERROR, error.strerror or str(error)) from error


def require_av() -> Any:
    """Returns PyAV. Raises UserError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UserError("video files need PyAV, which is not installed: pip install 'x2i[video]'") from error
    return av


def read_frame(location: Location) -> bytes:
    """Returns a frame as a BMP file, the quickest lossless one. Raises DroppedError if it is not there any more.

    Decoding always begins at the key frame that the plan names, so the pixels are the same whatever was read before; a
    decoder that stands between that key frame and the wanted frame goes on from there. Each thread keeps one.
    """
    reader = getattr(_held, "reader", None)
    _held.reader = None  # an error leaves no half-read decoder behind
    if reader is None or not reader.can_reach(location):
        if reader is not None:
            reader.close()
        reader = _Reader(location)
    pixels = reader.read(location.offset)
    if pixels is None and not reader.is_damaged:  # the file's index leads astray
        reader.close()
        reader = _Reader(location, seek=False)
        pixels = reader.read(location.offset)
    if pixels is None:
        reader.close()
        raise DroppedError(Reason.IMAGE_CORRUPT, f"no whole frame at {location.offset} can be decoded")
    _held.reader = reader
    return as_bmp(pixels)


def upright_rgb(frame: VideoFrame, aspect: float) -> np.ndarray:
    """Returns the pixels as shown, (height, width, 3) uint8: in square pixels, turned as the file asks.

    aspect: width of a pixel divided by its height; frames are enlarged along one side, never reduced. 10-bit and HDR
    pictures become 8-bit by range alone, without tone mapping. Where the file names no matrix, BT.709 is taken from
    720 lines on and BT.601 below, as players do.
    """
    width, height = frame.width, frame.height
    if aspect > 1:
        width = round(width * aspect)
    elif 0 < aspect < 1:
        height = round(height / aspect)
    matrix = _BT709 if frame.colorspace == _UNSPECIFIED and frame.height >= _HD_HEIGHT else None
    interpolation = require_av().video.reformatter.Interpolation
    careful = interpolation.BICUBIC | interpolation.ACCURATE_RND | interpolation.FULL_CHR_H_INT
    pixels = frame.reformat(
        width, height, "rgb24", src_colorspace=matrix, dst_color_range="JPEG", interpolation=careful, threads=1
    ).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, k=round(frame.rotation / 90) % 4))


def pixel_aspect(video: VideoStream) -> float:
    """Returns how wide a pixel is for its height, 1.0 where the file does not say or says nonsense."""
    ratio = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    aspect = float(ratio) if ratio else 1.0
    return aspect if 0.25 <= aspect <= 4 else 1.0


def as_bmp(pixels: np.ndarray) -> bytes:
    """Returns (height, width, 3) RGB as an uncompressed BMP file."""
    import cv2

    encoded, data = cv2.imencode(".bmp", pixels[..., ::-1])
    assert encoded
    return bytes(data)


class _Reader:
    """A decoder that was set down at one key frame and goes forward from there."""

    def __init__(self, location: Location, *, seek: bool = True) -> None:
        self._path, self._start, self._position = location.path, location.start, location.start - 1
        with ffmpeg_errors():
            self._container = _open(location.path)
            self._video = _first_video(self._container)
        if seek:
            with suppress(require_av().FFmpegError):  # a file without an index is read from its beginning
                self._container.seek(location.start, stream=self._video, backward=True)
        self._packets = self._container.demux(self._video)
        self._ready: deque[VideoFrame] = deque()
        self.is_damaged = False

    def can_reach(self, location: Location) -> bool:
        return (location.path, location.start) == (self._path, self._start) and location.offset > self._position

    def read(self, pts: int) -> np.ndarray | None:
        """Decodes forward to the frame shown at `pts`; None if there is none, or it is damaged."""
        with ffmpeg_errors():
            frame = self._find(pts)
            if frame is None or frame.is_corrupt or self.is_damaged:
                return None
            return upright_rgb(frame, pixel_aspect(self._video))

    def close(self) -> None:
        self._container.close()

    def _find(self, pts: int) -> VideoFrame | None:
        while True:
            while self._ready:
                frame = self._ready.popleft()
                if frame.pts is None:
                    continue
                self._position = frame.pts
                if frame.pts == self._start:  # what came before does not matter
                    self.is_damaged = False
                if frame.pts >= pts:
                    return frame if frame.pts == pts else None
            packet = next(self._packets, None)
            if packet is None:
                return None
            frames = decode_packet(packet)
            self.is_damaged |= frames is None or packet.is_corrupt
            self._ready.extend(frames or ())


def decode_packet(packet: Packet[VideoStream]) -> list[VideoFrame] | None:
    """Returns the frames that a packet completes, None if it is damaged."""
    try:
        return list(packet.decode())
    except require_av().FFmpegError:
        return None


def _open(url: str) -> InputContainer:
    file: Any = str(local_path(url)) if is_local(url) else open_url(url)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    return cast("InputContainer", require_av().open(file, options=options, metadata_errors="replace"))


def _first_video(container: InputContainer) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        raise DroppedError(Reason.NOT_AN_IMAGE, "the file has no video stream")
    video = streams[0]
    if video.codec_context is None:
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, "no decoder for its video stream")
    width, height = video.codec_context.width, video.codec_context.height
    if width * height > DEFAULT_MAX_PIXELS:
        raise DroppedError(Reason.TOO_MANY_PIXELS, f"{width}x{height}; at most {DEFAULT_MAX_PIXELS}")
    video.thread_type = "NONE"
    video.codec_context.skip_frame = "NONREF"
    video.codec_context.options = {"err_detect": "explode"}
    return video
