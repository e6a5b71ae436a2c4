"""Maps that a model made, in either direction: normals, poses, classes, edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.image.class_colors import ADE20K_CLASSES, class_colors
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, ImageMap, RgbImage, Source
from x2i.recipes.conditions import Drawn, ImageToMap, MapToImage, StoredMap


@dataclass(frozen=True)
class Normals(StoredMap):
    """Surface normals as colors: red, green and blue are x, y and z from -1 at 0 to 1 at 255."""

    family = "annotations"
    noun = "normal map"
    exact = True
    mirrorable = False  # the vectors would have to be turned as well

    column: Annotated[str, Option("Column of the normals.")] = "normals"

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        height, width = photographs[0].shape[:2]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        normals_HW3 = np.dstack([x, y, np.ones_like(x)]) / np.sqrt(x**2 + y**2 + 1)[..., None]
        values = np.rint((normals_HW3 + 1) * 127.5).astype(np.uint8)
        maps = {self.column: ImageMap(values, {"flipped": "", "model": "example"})}
        return Example((Source(photographs[0], maps),), super().example(photographs).metadata)


@dataclass(frozen=True)
class PoseMap(StoredMap):
    """Limbs and joints on black; the parameters hold each person's box and keypoints in pixels of the target."""

    family = "annotations"
    noun = "pose skeleton"
    mirrorable = False  # colors tell left limbs from right ones

    column: Annotated[str, Option("Column of the poses.")] = "pose"

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        drawn = super().draw(source, metadata, random)
        if isinstance(drawn, Dropped):
            return drawn
        stored, fields = source.maps[self.column], source.maps[self.column].fields
        if not fields.get("people"):
            return Dropped(Reason.NO_ENTITY, "no people in it")
        scale = np.array(source.pixels.shape[1::-1]) / np.array(stored.values.shape[1::-1])
        points = np.array(fields["keypoints"], float).reshape(fields["people"], -1, 2) * scale
        scores = np.array(fields["scores"], float).reshape(fields["people"], -1, 1)
        people = np.concatenate([points, scores], axis=2).round(2).tolist()
        boxes = (np.array(fields["boxes"], float).reshape(-1, 2, 2) * scale).reshape(-1, 4).round(1).tolist()
        kept = {name: value for name, value in drawn.parameters.items() if name not in ("keypoints", "scores", "boxes")}
        return Drawn(drawn.pixels, {**kept, "keypoints": people, "boxes": boxes})

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        from x2i.image.skeleton import draw_poses

        height, width = photographs[0].shape[:2]
        points = np.array([[0.5, 0.2], [0.5, 0.5], [0.3, 0.8], [0.7, 0.8]], np.float32) * [width, height]
        values = draw_poses(height, width, [(points, np.ones(4, np.float32))], [(0, 1), (1, 2), (1, 3)], 0.3)
        said = {"people": 1, "boxes": [0, 0, width, height], "keypoints": points.ravel().tolist(), "scores": [1.0] * 4}
        maps = {self.column: ImageMap(values, {**said, "names": ["head", "hip", "left", "right"]})}
        return Example((Source(photographs[0], maps),), super().example(photographs).metadata)


@dataclass(frozen=True)
class ClassMap(StoredMap):
    """Each class in the color of the palette; the parameters list number, label and color of those in the picture."""

    family = "annotations"
    noun = "semantic segmentation map"
    exact = True

    column: Annotated[str, Option("Column of the segmentation.")] = "segmentation"

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        drawn = super().draw(source, metadata, random)
        if isinstance(drawn, Dropped):
            return drawn
        fields = source.maps[self.column].fields
        if not fields["classes"]:
            return Dropped(Reason.NO_ENTITY, "no class in it")
        count = ADE20K_CLASSES if fields["palette"] == "ade20k" else max(fields["classes"]) + 1
        colors_C3 = class_colors(count)[1]
        listed = [
            {"id": number, "label": label, "rgb": colors_C3[number].tolist()}
            for number, label in zip(fields["classes"], fields["labels"])
        ]
        kept = {name: drawn.parameters[name] for name in ("column", "palette", "model") if name in drawn.parameters}
        return Drawn(drawn.pixels, {**kept, "classes": listed})

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        height, width = photographs[0].shape[:2]
        ids_HW = (np.arange(height)[:, None] > height // 2).astype(int) + 2 * (np.arange(width) > width // 3)
        values = class_colors(4)[1][ids_HW]
        said = {"palette": "voc", "classes": [0, 1, 2, 3], "labels": ["sky", "sea", "sand", "rock"]}
        maps = {self.column: ImageMap(values, {**said, "shares": [0.25] * 4, "model": "example"})}
        return Example((Source(photographs[0], maps),), super().example(photographs).metadata)


@dataclass(frozen=True)
class EdgeMap(StoredMap):
    """Edges of a network in a few gray levels, so that no shade of the photograph leaks through them (HED "safe")."""

    family = "annotations"
    noun = "edge map"

    column: Annotated[str, Option("Column of the edges.")] = "edges"
    steps: Annotated[int, Option("Gray levels above black.", ge=1, le=255)] = 2

    def draw(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Drawn | Dropped:
        drawn = super().draw(source, metadata, random)
        if isinstance(drawn, Dropped):
            return drawn
        level = np.minimum(drawn.pixels.astype(np.int32) * (self.steps + 1) // 256, self.steps)
        pixels = np.rint(level * (255 / self.steps)).astype(np.uint8)
        if not np.ptp(pixels):
            return Dropped(Reason.UNSUITABLE_IMAGE, "the edge map is flat")
        return Drawn(pixels, {**drawn.parameters, "steps": self.steps})


@dataclass(frozen=True)
class NormalsToImage(MapToImage, Normals):
    name = "normals_to_image"
    title = "Surface normals and caption to photograph"
    operation = "turning a normal map into a photo"


@dataclass(frozen=True)
class ImageToNormals(ImageToMap, Normals):
    name = "image_to_normals"
    title = "Photograph to surface normals"
    operation = "estimating surface normals"


@dataclass(frozen=True)
class PoseToImage(MapToImage, PoseMap):
    name = "pose_to_image"
    title = "Pose skeleton and caption to photograph"
    operation = "turning a skeleton into a photo"


@dataclass(frozen=True)
class ImageToPose(ImageToMap, PoseMap):
    name = "image_to_pose"
    title = "Photograph to pose skeleton"
    operation = "detecting the poses of the people"


@dataclass(frozen=True)
class ClassesToImage(MapToImage, ClassMap):
    name = "segmentation_to_image"
    title = "Semantic segmentation and caption to photograph"
    operation = "turning a segmentation map into a photo"


@dataclass(frozen=True)
class ImageToClasses(ImageToMap, ClassMap):
    name = "image_to_segmentation"
    title = "Photograph to semantic segmentation"
    operation = "segmenting the photo into classes"


@dataclass(frozen=True)
class EdgesToImage(MapToImage, EdgeMap):
    name = "edges_to_image"
    title = "Edges of a network and caption to photograph"
    operation = "turning network edges into a photo"


@dataclass(frozen=True)
class ImageToEdges(ImageToMap, EdgeMap):
    name = "image_to_edges"
    title = "Photograph to edges of a network"
    operation = "detecting soft edges"
