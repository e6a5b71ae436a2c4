"""Pairs of images whose objects look alike: the boxes of `entities`, cut out and compared by an embedder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import ImageEmbedder, RgbImage
from x2i.relate.candidates import embedding_pairs
from x2i.relate.subject_rows import SubjectRow, entity_input
from x2i.relate.subjects import cosines

LEAST_SIDE = 32
LEAST_SHARE = 0.02
BATCH = 32


def crop_rows(
    entities: Sequence[Mapping[str, Any]],
    sizes: Mapping[str, Sequence[int]],
    read_image: Callable[[str], RgbImage],
    embedder: ImageEmbedder,
    neighbors: int,
    least: float,
    most: float,
) -> list[SubjectRow]:
    """Returns a row in either direction for each two objects of two images with one label that look alike.

    entities: rows of the column `entities`, those of one image one after another. sizes: image key -> height and
    width. read_image: gives the pixels of a key.
    least, most: bounds of the cosine; more alike than `most` is the same picture again.
    """
    usable = [row for row in entities if _is_usable(row)]
    if len(usable) < 2:
        return []
    vectors_ED = np.concatenate(list(_embedded(usable, read_image, embedder)))
    pairs_P2 = embedding_pairs(vectors_ED, neighbors)
    cosine_P = cosines(vectors_ED, pairs_P2)
    rows = []
    for (a, b), cosine in zip(pairs_P2.tolist(), cosine_P.tolist()):
        one, other = usable[a], usable[b]
        if one["key"] == other["key"] or one["label"] != other["label"] or not least <= cosine <= most:
            continue
        scores, evidence = {"similarity": round(cosine, 5)}, {"method": "crop"}
        rows.append(SubjectRow(other["key"], (entity_input(one, sizes[one["key"]]),), "crop", scores, evidence))
        rows.append(SubjectRow(one["key"], (entity_input(other, sizes[other["key"]]),), "crop", scores, evidence))
    return rows


def _is_usable(row: Mapping[str, Any]) -> bool:
    sides = row["x1"] - row["x0"], row["y1"] - row["y0"]
    return min(sides) >= LEAST_SIDE and (row["area_share"] is None or row["area_share"] >= LEAST_SHARE)


def _embedded(
    entities: Sequence[Mapping[str, Any]], read_image: Callable[[str], RgbImage], embedder: ImageEmbedder
) -> list[NDArray[np.float32]]:
    vectors = []
    for start in range(0, len(entities), BATCH):
        batch = entities[start : start + BATCH]
        images = {key: read_image(key) for key in dict.fromkeys(row["key"] for row in batch)}
        crops = [images[row["key"]][row["y0"] : row["y1"], row["x0"] : row["x1"]] for row in batch]
        vectors.append(embedder.embed([np.ascontiguousarray(crop) for crop in crops]))
    return vectors
