"""Options of the source kinds that come with x2i."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from x2i.options import Option
from x2i.words import CaptionLines


@dataclass(frozen=True)
class TableOptions:
    """Which columns to read, the first that exists of the usual names if none is given, and what may be skipped."""

    url_col: Annotated[str | None, Option("Table column with URLs. Default: url, image_url, ...")] = None
    text_col: Annotated[str | None, Option("Table column with captions. Default: text, caption, prompt, ...")] = None
    keep_col: Annotated[tuple[str, ...], Option("A further table column to keep in `extra`; may be repeated.")] = ()
    skip_bad_lines: Annotated[
        int, Option("Lines of a table that cannot be read: skip up to N of them, each noted.", ge=0)
    ] = 0


@dataclass(frozen=True)
class CaptionOptions:
    """How captions in files of their own are read."""

    caption_lines: Annotated[
        CaptionLines, Option("Lines of a caption file that count: all, the first, or one by the image's name.")
    ] = CaptionLines.ALL


@dataclass(frozen=True)
class PageOptions:
    """Which pages are read beside the one that is named."""

    depth: Annotated[int, Option("Follow links of a page this deep, on its own host only.", ge=0)] = 0
    max_pages: Annotated[int, Option("Pages read for each page source, at most.", ge=1)] = 100
    sitemaps: Annotated[bool, Option("Read also the pages that the sitemaps in a page's robots.txt name.")] = False


@dataclass(frozen=True)
class ArchiveOptions:
    """What is taken of web archives beside the images in them."""

    warc_links: Annotated[bool, Option("Fetch also what the pages in a web archive show but it does not hold.")] = False


@dataclass(frozen=True)
class VideoOptions:
    """Which frames of a video are taken; see x2i.crawl.sources.videos.scenes."""

    frame_interval: Annotated[float, Option("Seconds between frames taken from one clip of a video.", gt=0)] = 2.0
    scene_threshold: Annotated[
        float, Option("How different (0 to about 150) two frames at a cut are; 0: look for no cuts.", ge=0)
    ] = 20.0
    max_frames: Annotated[int, Option("Frames taken from each video, at most.", ge=1)] = 1000
