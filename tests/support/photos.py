"""A small dataset of real photographs, written through x2i.store as the stages would, for tests of what reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import skimage.data
from skimage import io

from x2i.image import ResizeMode, encode, phash, resize, sha256
from x2i.image.rle import encode_mask
from x2i.image_record import ImageRecord
from x2i.reasons import Reason, Status
from x2i.relate.duplicates import Duplicates
from x2i.relate.frame_pairs import FramePairs
from x2i.relate.subject_entities import SubjectEntities, images_with_entities
from x2i.relate.subject_frames import SubjectFrames
from x2i.relate.subject_pairs import SubjectPairs
from x2i.relate.subject_rows import SubjectInput, SubjectRow, subject_table
from x2i.store import Dataset
from x2i.store.columns import write_column, write_relation
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
from x2i.store.images import image_partition
from x2i.store.paths import image_partition as partition_of
from x2i.tables import IMAGE_TYPE, TableSpec

SIDE = 256
PER_PARTITION = 4
CAPTIONS = {
    "astronaut": "A portrait of an astronaut in an orange suit.",
    "chelsea": "A tabby cat looking at the camera",
    "coffee": "Cup of coffee on a wooden table. A spoon lies beside it.",
    "rocket": "A rocket on its launch pad at night",
    "retina": None,
    "hubble_deep_field": "Galaxies <|image_1|> in the Hubble deep field",
    "motorcycle_left": "A motorcycle in a garage",
    "camera": "A man with a camera on a tripod",
    "astronaut_face": "Close-up of an astronaut's face",
    "flat": "A gray wall",
}


@cache
def photo(name: str, side: int = SIDE) -> np.ndarray:
    """Returns one of scikit-image's bundled photographs, uint8 RGB, its longest side brought to `side` pixels.

    Read-only, since it is decoded once and shared.
    """
    image = _photo(name, side)
    image.setflags(write=False)
    return image


def _photo(name: str, side: int) -> np.ndarray:
    if name == "flat":
        return np.full((side, side, 3), 127, np.uint8)
    folder = Path(skimage.data.__file__).parent
    if name == "astronaut_face":
        return resize(photo("astronaut", 512)[20:300, 100:380], ResizeMode.LONGEST, side)
    path = next(folder / f"{name}.{suffix}" for suffix in ("png", "jpg") if (folder / f"{name}.{suffix}").exists())
    image = io.imread(path)
    image = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image[..., :3]
    return resize(np.ascontiguousarray(image), ResizeMode.LONGEST, side)


def ellipse(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    """Returns a mask_HW of a disc; all arguments but the size are shares of the shorter side or of either side."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (int(x * width), int(y * height)), int(radius * min(height, width)), 1, -1)
    return mask.astype(bool)


def keys() -> dict[str, str]:
    """Returns name -> image key."""
    return {name: f"{k // PER_PARTITION:05d}-{k % PER_PARTITION:05d}" for k, name in enumerate(CAPTIONS)}


def write_photos(root: Path) -> Dataset:
    """Writes and commits the image store: every photo of CAPTIONS, and one failed attempt at the end."""
    dataset = Dataset.create(root, "photos")
    names = list(CAPTIONS)
    for start in range(0, len(names), PER_PARTITION):
        partition = f"{start // PER_PARTITION:05d}"
        with image_partition(root, partition) as writer:
            for name in names[start : start + PER_PARTITION]:
                image = photo(name)
                data = encode(image, "jpeg", 95)
                writer.add(
                    ImageRecord(
                        keys()[name],
                        f"uid-{name}",
                        f"https://photos.example/{name}.jpg",
                        Status.OK,
                        width=image.shape[1],
                        height=image.shape[0],
                        format="jpeg",
                        sha256=sha256(data),
                        phash=phash(image),
                        license="CC0",
                    ),
                    data,
                )
            if start + PER_PARTITION >= len(names):
                lost = ImageRecord(f"{partition}-00009", "uid-lost", "https://x", Status.FAILED, Reason.TIMEOUT)
                writer.add(lost)
        kept = sum(record.status is Status.OK for record in writer.records)
        counts = Counts(kept, {}, {str(Reason.TIMEOUT): 1} if kept < len(writer.records) else {})
        files = (root / f"images/{partition}.tar", root / f"images/{partition}.parquet")
        commit(root, "crawl", partition, files, counts)
    return dataset


def write_quality(root: Path) -> None:
    rows = {name: {"min_side": min(photo(name).shape[:2]), "sharpness": 100.0} for name in CAPTIONS}
    column(root, "filter", "quality", rows, {"min_side": pa.int32(), "sharpness": pa.float32()})


def write_captions(root: Path) -> None:
    rows = {name: {"caption": caption, "source": "alt"} for name, caption in CAPTIONS.items()}
    column(root, "caption", "captions", rows, {"caption": pa.string(), "source": pa.string()})


def write_duplicates(root: Path) -> None:
    """chelsea is called a duplicate of nothing in particular, so that a selection has something to leave out."""
    rows = [
        {"key": key, "cluster": key, "is_duplicate": name == "chelsea", "hash_group": key, "rank": rank}
        for rank, (name, key) in enumerate(keys().items())
    ]
    relation(root, Duplicates.spec, rows)


def write_subject_pairs(root: Path) -> None:
    """The astronaut and her face, and a pair that is a near-duplicate by its phash distance."""
    pairs = (("astronaut", "astronaut_face", 30), ("rocket", "motorcycle_left", 3))
    rows = []
    for a, b, distance in pairs:
        scores = {"phash_distance": distance, "inliers": 40, "inlier_ratio": 0.5, "area_ratio": 0.3}
        for source, target in permutations((keys()[a], keys()[b])):
            rows.append(SubjectRow(target, (SubjectInput(source),), "geometry", scores, {"model": "homography"}))
    relation(root, SubjectPairs.spec, subject_table(rows).to_pylist())


def write_subject_entities(root: Path) -> None:
    """The entities of the astronaut and of the coffee, to be cut out."""
    dataset = Dataset.open(root)
    images = dataset.images(["key", "height", "width", "status"]).to_pylist()
    entities = [{"area_share": None, **row} for row in dataset.column("entities").to_pylist()]
    captions = {keys()[name]: caption for name, caption in CAPTIONS.items() if caption}
    found = list(SubjectEntities().find(images_with_entities(images, entities, captions)))
    found += [replace(row, inputs=row.inputs * count) for row in found for count in (2, 3)]
    relation(root, SubjectEntities.spec, subject_table(found).to_pylist())


def write_frames(root: Path) -> None:
    """As if the astronaut's face were a later frame of her portrait: as a subject, as two, and as a change."""
    height, width = photo("astronaut").shape[:2]
    part = ((60, 60, 200, 200), "", (height, width), "smiling face", 0)
    source, target = keys()["astronaut_face"], keys()["astronaut"]
    rows = [
        SubjectRow(target, (SubjectInput(source, *part),) * count, "video", {"similarity": 0.8}) for count in (1, 2)
    ]
    relation(root, SubjectFrames.spec, subject_table(rows).to_pylist())
    change = {"before": target, "after": source, "seconds": 1.0, "still": 0.7, "changed": 0.2}
    relation(root, FramePairs.spec, [{**change, "phrase": "smiling face", "shift": [0.2, 0.0], "scale": 1.0}])


def write_entities(root: Path) -> None:
    """Discs where the thing is: one each on astronaut and coffee, two of one name on rocket, a speck on chelsea."""
    places = {
        "astronaut": [("a smiling face", 0.44, 0.22, 0.14)],
        "coffee": [("cup", 0.42, 0.45, 0.3)],
        "rocket": [("tower", 0.3, 0.5, 0.1), ("Tower", 0.6, 0.5, 0.1)],
        "chelsea": [("an eye", 0.5, 0.5, 0.02)],
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, found in places.items():
        height, width = photo(name).shape[:2]
        for number, (phrase, x, y, radius) in enumerate(found):
            mask = ellipse(height, width, x, y, radius)
            ys, xs = np.nonzero(mask)
            box = {"x0": int(xs.min()), "y0": int(ys.min()), "x1": int(xs.max()) + 1, "y1": int(ys.max()) + 1}
            row = {
                "entity": number,
                "label": phrase.lower(),
                "phrase": phrase,
                "score": 0.75,
                **box,
                "mask_size": [height, width],
            }
            row |= {"mask_counts": encode_mask(mask), "model": "test", "segmenter": "disc"}
            rows.setdefault(name, []).append(row)
    numbers = dict.fromkeys(("entity", "x0", "y0", "x1", "y1"), pa.int32())
    strings = dict.fromkeys(("label", "phrase", "mask_counts", "model", "segmenter"), pa.string())
    column(
        root,
        "detect",
        "entities",
        rows,
        {**numbers, **strings, "score": pa.float32(), "mask_size": pa.list_(pa.int32())},
    )


def depth_map(name: str) -> np.ndarray:
    """Returns a uint16 depth map_HW of a photo's size: bright (near) below, with the photo's darkness as relief."""
    image = photo(name)
    height = image.shape[0]
    ramp = np.linspace(0.1, 0.8, height)[:, None] + 0.15 * (1 - image.mean(axis=2) / 255)
    return np.rint(ramp * 65535).astype(np.uint16)


def write_depth(root: Path) -> None:
    """A depth map of every photo but retina, as 16-bit PNG in a field of images."""
    rows = {name: {"depth": png_field(depth_map(name)), "model": "ramp"} for name in CAPTIONS if name != "retina"}
    column(root, "depth", "depth", rows, {"depth": IMAGE_TYPE, "model": pa.string()})


def png_field(values: np.ndarray) -> dict[str, Any]:
    """Returns the value of a field with an image: `values`, uint8 or uint16 gray or RGB, as PNG."""
    order = values[..., ::-1] if values.ndim == 3 else values
    return {"bytes": cv2.imencode(".png", order)[1].tobytes(), "path": None}


def write_all(root: Path) -> Dataset:
    dataset = write_photos(root)
    for write in (
        write_quality,
        write_captions,
        write_duplicates,
        write_subject_pairs,
        write_entities,
        write_depth,
        write_subject_entities,
        write_frames,
    ):
        write(root)
    return dataset


def column(root: Path, stage: str, name: str, rows: Mapping[str, Any], types: Mapping[str, pa.DataType]) -> None:
    """Writes and commits a column: rows by photo name (one row or a list of rows)."""
    schema = pa.schema([("key", pa.string()), *types.items()])
    has_many = any(isinstance(found, list) for found in rows.values())
    spec = TableSpec(name, name, stage, schema, rows="many" if has_many else "one")
    for partition in sorted({partition_of(key) for key in keys().values()}):
        part = []
        for photo_name, key in keys().items():
            if key.startswith(partition) and photo_name in rows:
                found = rows[photo_name]
                part += [{"key": key, **row} for row in (found if isinstance(found, list) else [found])]
        path = write_column(root, name, partition, pa.Table.from_pylist(part, schema=schema), spec)
        commit(root, name, partition, (path,))


def relation(root: Path, spec: TableSpec, rows: list[dict[str, Any]]) -> None:
    """Writes and commits a relation."""
    path = write_relation(root, spec.name, pa.Table.from_pylist(rows, schema=spec.schema), spec)
    commit(root, spec.name, "00000", (path,))


def commit(root: Path, stage: str, partition: str, outputs: tuple[Path, ...], counts: Counts | None = None) -> None:
    outputs_entry = describe_outputs(root, outputs)
    write_commit(root, Commit(stage, partition, 1, {}, {}, "", outputs_entry, counts or Counts()))
