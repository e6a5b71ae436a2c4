"""scenes, scene_entities, scene_relations: the truth about drawn scenes, told by their addresses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import Found, PixelAnnotation, StoredImage, Verdict
from x2i.annotate.entities import SIDES, Entities
from x2i.image.rle import encode_mask
from x2i.reasons import Dropped, Reason
from x2i.scenes.draw import draw
from x2i.scenes.scene import Scene, scene_at
from x2i.scenes.words import name_of, relations, text_of


class Truth(PixelAnnotation):
    """What an address says about a drawn scene; images from elsewhere have no row, or an empty one."""

    image_fields: ClassVar[tuple[str, ...]] = ("url", "width")

    @property
    def pixels(self) -> bool:
        return False

    def facts(self, image: StoredImage) -> Verdict:
        scene = scene_at(image.row["url"])
        if scene is None:
            return Dropped(Reason.NO_ENTITY, "no drawn scene")
        return self.truth(replace(scene, size=image.row["width"]))

    @abstractmethod
    def truth(self, scene: Scene) -> Verdict:
        """Returns what there is to say about a scene at the size at which its picture is stored."""


@dataclass(frozen=True)
class Scenes(Truth):
    """Tell what drawn scenes (`x2i crawl scenes:N`) are made of.

    scene: the description from which the picture can be drawn again and changed, as JSON; things in it stand in the
    order of their depth, the hindmost first. ground: color of the background. count: of things. text: letters and
    digits from left to right.
    """

    name: ClassVar[str] = "scenes"
    title: ClassVar[str] = "Drawn scenes: what they are made of"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("scene", pa.string()),
        pa.field("ground", pa.string()),
        pa.field("count", pa.int32()),
        pa.field("text", pa.string()),
    )
    kept: ClassVar[str] = "scene IS NOT NULL"

    def truth(self, scene: Scene) -> Verdict:
        count = len(scene.things)
        return {"scene": scene.to_json(), "ground": scene.ground, "count": count, "text": text_of(scene)}


@dataclass(frozen=True)
class SceneEntities(Truth):
    """Tell the things of drawn scenes exactly, in the fields of `x2i detect`; wholly hidden ones are left out.

    Written as `--column entities`, it serves every recipe that works from found objects. entity: number in the order of
    depth, 0 the hindmost. color, kind, texture, place: what it was drawn as. visible_share: of it, what nothing covers.
    """

    name: ClassVar[str] = "scene_entities"
    title: ClassVar[str] = "Things of drawn scenes: exact boxes, masks, phrases"
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        *Entities.fields,
        *(pa.field(name, pa.string()) for name in ("model", "segmenter", "color", "kind", "texture", "place")),
        pa.field("visible_share", pa.float32()),
    )

    def truth(self, scene: Scene) -> Verdict:
        rows: list[Mapping[str, Any]] = []
        for number, (thing, mask) in enumerate(zip(scene.things, draw(scene).masks, strict=True)):
            if not mask.any():
                continue
            y, x = np.nonzero(mask)
            box = dict(zip(SIDES, (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1), strict=True))
            alone = draw(replace(scene, things=(thing,))).masks[0]
            drawn = {name: getattr(thing, name) for name in ("color", "kind", "texture", "place")}
            rows.append(
                {"entity": number, "label": thing.kind, "phrase": name_of(thing), **box, "score": 1.0}
                | {"area_share": float(mask.mean()), "mask_size": list(mask.shape), "mask_counts": encode_mask(mask)}
                | {"mask_score": 1.0, "model": "drawn", "segmenter": "drawn", **drawn}
                | {"visible_share": float(mask.sum() / alone.sum())}
            )
        return Found(tuple(rows))


@dataclass(frozen=True)
class SceneRelations(Truth):
    """Tell how the things of drawn scenes stand to each other.

    subject, object: numbers of things, as `entity` of scene_entities. relation: left of, right of, above, below, in
    front of (where one covers a part of the other).
    """

    name: ClassVar[str] = "scene_relations"
    title: ClassVar[str] = "Things of drawn scenes: how they stand to each other"
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("subject", pa.int32()),
        pa.field("relation", pa.string()),
        pa.field("object", pa.int32()),
    )

    def truth(self, scene: Scene) -> Verdict:
        told = [{"subject": one.subject, "relation": one.relation, "object": one.object} for one in relations(scene)]
        alone = [draw(replace(scene, things=(thing,))).masks[0] for thing in scene.things]
        told += [
            {"subject": front, "relation": "in front of", "object": behind}
            for front in range(len(alone))
            for behind in range(front)
            if (alone[front] & alone[behind]).any()
        ]
        return Found(tuple(told))
