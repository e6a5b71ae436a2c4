"""Which frames of a video are taken: clips end at cuts, and each clip gives a frame at its start and one per interval.

A cut is where two frames that follow each other differ by much more than their neighbors do: the adaptive detection of
PySceneDetect (https://www.scenedetect.com/docs/latest/api/detectors.html) with another measure of difference, which a
moving camera changes less. Pure: frames come in as thumbnails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

BEFORE = 8
"""How many differences before a frame say, by their median, what is usual here: movement and flicker are no cuts."""
CUT_RATIO = 3.0
SHORTEST_CLIP = 0.4
"""Seconds: a cut sooner than this after the one before is a flash."""
WINDOW = 0.5
"""Seconds from where a frame is due, within which the sharpest is taken."""


@dataclass(frozen=True)
class FrameThumbnail:
    """A frame as planning sees it. pts, key_pts: of the frame and of the key frame before it, in units of the stream.

    seconds: from the start of the video. thumbnail: (3, height, width) uint8, the planes of YCbCr.
    """

    pts: int
    key_pts: int
    seconds: float
    thumbnail: np.ndarray


@dataclass(frozen=True)
class Clip:
    """What lies between two cuts: its frames to take, and its times in seconds."""

    number: int
    start: float
    end: float
    frames: tuple[FrameThumbnail, ...]


def find_clips(thumbnails: Iterable[FrameThumbnail], interval: float, threshold: float) -> Iterator[Clip]:
    """Yields the clips of a video as they end, in order; holds only what one clip will give.

    interval: seconds between frames of a clip. threshold: the `difference` from which on a cut is possible; 0 switches
    cuts off, and the video is one clip.
    """
    detector, clip, number, end = _CutDetector(threshold), None, 0, 0.0
    for frame_thumbnail in thumbnails:
        if detector.is_cut(frame_thumbnail) and clip is not None:
            yield clip.close(number, frame_thumbnail.seconds)
            clip, number = None, number + 1
        if clip is None:
            clip = _OpenClip(frame_thumbnail.seconds, interval)
        clip.add(frame_thumbnail)
        end = frame_thumbnail.seconds
    if clip is not None:
        yield clip.close(number, end)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Returns how different two thumbnails are: 0 for equal ones, 100 and more for two unlike pictures.

    The mean of two measures: the mean absolute difference of luma (0 to 255), and `recolored`.
    """
    return (_moved(one, other) + recolored(one, other)) / 2


def _moved(one: np.ndarray, other: np.ndarray) -> float:
    import cv2

    return float(cv2.absdiff(one[0], other[0]).mean())


def recolored(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the percentage of two thumbnails' histograms of luma and chroma (32 bins each) that does not overlap.

    Movement hardly changes it.
    """
    return float(np.abs(_histogram(one) - _histogram(other)).sum()) * 50


def sharpness(thumbnail: np.ndarray) -> float:
    """Returns the variance of the Laplacian of luma: the larger, the sharper."""
    import cv2

    return float(cv2.Laplacian(thumbnail[0], cv2.CV_32F).var())


def _histogram(thumbnail: np.ndarray) -> np.ndarray:
    """Returns the share of each of 3 x 32 bins; the sum is 1."""
    bins = (thumbnail >> 3) + np.array([0, 32, 64], np.uint8).reshape(3, 1, 1)
    return np.bincount(bins.ravel(), minlength=96) / thumbnail.size


class _CutDetector:
    """Judges frame by frame whether a cut lies just before it: the difference, or that of colors, must stand out.

    The latter finds cuts after something moved fast.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._before: deque[tuple[float, float]] = deque(maxlen=BEFORE)
        self._last: np.ndarray | None = None
        self._last_cut = 0.0

    def is_cut(self, frame_thumbnail: FrameThumbnail) -> bool:
        last, self._last = self._last, frame_thumbnail.thumbnail
        if last is None or not self._threshold:
            return False
        colors = recolored(frame_thumbnail.thumbnail, last)
        found = (_moved(frame_thumbnail.thumbnail, last) + colors) / 2, colors
        usual = np.median(self._before, axis=0).tolist() if self._before else [0.0, 0.0]
        self._before.append(found)
        stands_out = any(here >= CUT_RATIO * before for here, before in zip(found, usual))
        if found[0] < self._threshold or not stands_out or frame_thumbnail.seconds - self._last_cut < SHORTEST_CLIP:
            return False
        self._last_cut = frame_thumbnail.seconds
        return True


@dataclass
class _OpenClip:
    """A clip that has not ended: the frames taken, and the best of the window that is open."""

    start: float
    interval: float
    frames: list[FrameThumbnail] = field(default_factory=list)
    _best: FrameThumbnail | None = None
    _best_sharpness: float = -1.0
    _due: float = 0.0
    """Seconds from the start of the clip."""

    def add(self, frame_thumbnail: FrameThumbnail) -> None:
        since = frame_thumbnail.seconds - self.start
        if since >= self._due + min(WINDOW, self.interval):
            self._take()
            if self._due <= since - self.interval:  # a hole in the video: no frame is due in it
                self._due = since
        if since < self._due:
            return
        score = sharpness(frame_thumbnail.thumbnail)
        if self._best is None or score > self._best_sharpness:
            self._best, self._best_sharpness = frame_thumbnail, score

    def close(self, number: int, end: float) -> Clip:
        self._take()
        return Clip(number, self.start, end, tuple(self.frames))

    def _take(self) -> None:
        if self._best is not None:
            self.frames.append(self._best)
            self._due += self.interval
            self._best, self._best_sharpness = None, -1.0
