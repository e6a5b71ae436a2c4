"""Drawn scenes as a source: every scene is drawn from its address, and nothing is fetched or read."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from x2i.crawl.locations import LocatedBytes, Location
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import SourceRow
from x2i.scenes.draw import draw
from x2i.scenes.scene import SCHEME, VERSION, cutouts_in, draw_lots, parse_source, scene_at, scene_url
from x2i.scenes.words import caption


class SceneSource(SourceKind):
    """Pictures of shapes, letters and digits, with captions; their truth is what `x2i annotate scenes` makes."""

    title = "drawn scenes"
    looks_like = "scenes:2000?seed=1&size=64"
    text_source = "drawn"

    @classmethod
    def accepts(cls, source: str) -> bool:
        return source.startswith(SCHEME)

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        count, options = parse_source(self.source)
        for number in range(count):
            url = scene_url(options, number)
            location = Location("scenes", url.partition("#")[0], number)
            yield SourceRow(
                url=url,
                text=caption(draw_lots(options, number)),
                license="https://creativecommons.org/publicdomain/zero/1.0/",
                location=location,
            )

    def digest(self) -> str:
        count, options = parse_source(self.source)
        files = sorted(cutouts_in(options.cutouts).values()) if options.cutouts else ()
        drawn_from = "".join(f" {path}: {sha256(Path(path).read_bytes()).hexdigest()}" for path in files)
        return f"{VERSION}: {count} of {options.to_query()}{drawn_from}"

    @classmethod
    def read_location(cls, location: Location, max_bytes: int, agent: str) -> LocatedBytes:
        scene = scene_at(f"{location.path}#{location.offset}")
        assert scene is not None, location
        pixels = np.ascontiguousarray(draw(scene).pixels[..., ::-1])
        return LocatedBytes(cv2.imencode(".png", pixels)[1].tobytes())
