"""A small real dataset, written through x2i.store as the stages write it, from skimage's photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from x2i.image import ResizeMode, contrast, decode, encode, entropy, exposure, phash, resize, sha256, sharpness
from x2i.image_record import ImageRecord
from x2i.reasons import Reason, Status
from x2i.relate.duplicates import Duplicates
from x2i.relate.subject_pairs import SubjectPairs
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.store import Dataset, paths
from x2i.store.columns import write_column, write_relation
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
from x2i.store.images import image_partition
from x2i.store.shards import EncodedImage, shard_name, training_shard
from x2i.tables import TableSpec

PHOTOS = {
    "astronaut.png": "An astronaut in an orange suit in front of a flag and a model of the space shuttle",
    "chelsea.png": "A tabby cat looks straight into the camera",
    "coffee.png": "A cup of coffee with a spoon on a wooden table",
    "rocket.jpg": "A rocket on its launch pad against a bright sky, seen from a distance",
    "retina.jpg": "",
    "motorcycle_left.png": "A motorcycle in a garage between shelves and tools",
    "hubble_deep_field.jpg": "Galaxies <of many kinds> & colors in the Hubble deep field",
}
LOST = {
    "missing.jpg": (Reason.HTTP_CLIENT_ERROR, 404),
    "slow.jpg": (Reason.TIMEOUT, 0),
    "private.jpg": (Reason.ROBOTS_DISALLOWED, 0),
    "icon.png": (Reason.TOO_SMALL, 200),
}


@dataclass(frozen=True)
class Photo:
    key: str
    uid: str
    url: str
    caption: str
    pixels: np.ndarray


def photo_bytes(name: str) -> bytes:
    import skimage

    return (Path(skimage.__file__).parent / "data" / name).read_bytes()


def build_dataset(root: Path, side: int = 128, captions: dict[str, str] | None = None) -> Dataset:
    """Makes a dataset of seven stored images, four lost ones, and eighteen samples of seven tasks."""
    dataset = Dataset.create(root, "small")
    photos = _images(dataset.root, side, {**PHOTOS, **(captions or {})})
    _columns(dataset.root, photos)
    _shards(dataset.root, photos)
    return dataset


def commit(
    root: Path,
    stage: str,
    partition: str,
    outputs: Sequence[Path],
    counts: Counts,
    config: Mapping[str, str] = MappingProxyType({}),
) -> None:
    described = describe_outputs(root, tuple(outputs))
    write_commit(root, Commit(stage, partition, 1, dict(config), {}, "0" * 64, described, counts))


def _images(root: Path, side: int, captions: dict[str, str]) -> list[Photo]:
    photos = []
    for partition, names in (("00000", [*captions][:4]), ("00001", [*captions][4:])):
        with image_partition(root, partition) as writer:
            for row, name in enumerate(names):
                pixels = resize(decode(photo_bytes(name)), ResizeMode.LONGEST, side)
                data = encode(pixels, "jpeg", 92)
                pixels = decode(data)
                key, uid, url = f"{partition}-{row:05d}", sha256(name.encode())[:24], f"https://photos.example/{name}"
                writer.add(
                    ImageRecord(
                        key=key,
                        uid=uid,
                        url=url,
                        status=Status.OK,
                        page_url="https://photos.example/index.html",
                        text=captions[name],
                        width=pixels.shape[1],
                        height=pixels.shape[0],
                        format="jpeg",
                        bytes=len(data),
                        sha256=sha256(data),
                        phash=int(phash(pixels)),
                        http_status=200,
                        license="CC0-1.0" if row % 2 else "public domain",
                        host="photos.example",
                    ),
                    data,
                )
                photos.append(Photo(key, uid, url, captions[name], pixels))
            for row, (name, (reason, status)) in enumerate(LOST.items(), start=len(names)):
                key = f"{partition}-{row:05d}"
                lost = "filtered" if reason in (Reason.ROBOTS_DISALLOWED, Reason.TOO_SMALL) else "failed"
                url = f"https://elsewhere.example/{partition}/{name}"
                record = ImageRecord(key, f"{row}lost", url, Status(lost), reason, http_status=status)
                writer.add(record)
        outputs = [paths.image_tar(root, partition), paths.image_index(root, partition)]
        filtered = {"robots_disallowed": 1, "too_small": 1}
        commit(root, "crawl", partition, outputs, Counts(len(names), filtered, {"http_client_error": 1, "timeout": 1}))
    return photos


def _columns(root: Path, photos: list[Photo]) -> None:
    for partition in ("00000", "00001"):
        here = [photo for photo in photos if photo.key.startswith(partition)]
        tables = {
            ("quality", "filter"): [_quality(photo) for photo in here],
            ("captions", "caption"): [
                {"key": p.key, "caption": p.caption or None, "source": "alt", "model": "alt-text", "revision": "1"}
                for p in here
            ],
            ("entities", "detect"): [_entity(photo) for photo in here if photo.caption],
            ("embeddings", "embed"): [{"key": p.key, "embedding": [0.6, 0.8], "model": "classic"} for p in here],
        }
        for (name, stage), rows in tables.items():
            table = _table(rows)
            spec = TableSpec(name, name, stage, table.schema, rows="many" if name == "entities" else "one")
            path = write_column(root, name, partition, table, spec)
            lost = sum(not photo.caption for photo in here) if stage in ("caption", "detect") else 0
            reasons = {"no_caption" if stage == "caption" else "no_entity": lost} if lost else {}
            commit(root, name, partition, [path], Counts(len(here) - lost, reasons))
    kept = {photo.key: photos[0].key if k == 6 else photo.key for k, photo in enumerate(photos)}
    duplicates = [
        {"key": key, "cluster": of, "is_duplicate": key != of, "kind": "near" * (key != of), "hash_group": of}
        for key, of in kept.items()
    ]
    duplicates = [{**row, "rank": rank} for rank, row in enumerate(duplicates)]
    pair = {"target": photos[0].key, "inputs": [photos[5].key], "inliers": 42, "inlier_ratio": 0.7}
    commit(
        root,
        "duplicates",
        "00000",
        [write_relation(root, "duplicates", _relation(duplicates, Duplicates.spec), Duplicates.spec)],
        Counts(6, {"duplicate": 1}),
    )
    commit(
        root,
        "subject_pairs",
        "00000",
        [write_relation(root, "subject_pairs", _relation([pair], SubjectPairs.spec), SubjectPairs.spec)],
        Counts(2, {"no_pair": 4}),
    )


def _relation(rows: list[dict[str, object]], spec: TableSpec) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=spec.schema)


def _table(rows: list[dict[str, object]]) -> pa.Table:
    kinds = {"phash": pa.uint64(), "sharpness": pa.float32(), "score": pa.float32()}
    return pa.table({name: pa.array([row[name] for row in rows], kinds.get(name)) for name in rows[0]})


def _quality(photo: Photo) -> dict[str, object]:
    height, width = photo.pixels.shape[:2]
    return {
        "key": photo.key,
        "min_side": min(height, width),
        "aspect_ratio": width / height,
        "megapixels": width * height / 1e6,
        "sharpness": float(sharpness(photo.pixels)),
        "exposure": float(exposure(photo.pixels)),
        "contrast": float(contrast(photo.pixels)),
        "entropy": float(entropy(photo.pixels)),
        "phash": int(phash(photo.pixels)),
    }


def _entity(photo: Photo) -> dict[str, object]:
    height, width = photo.pixels.shape[:2]
    box = {"x0": width // 4, "y0": height // 4, "x1": 3 * width // 4, "y1": 3 * height // 4}
    return {"key": photo.key, "entity": 0, "phrase": photo.caption.split(" in ")[0], **box, "score": 0.5}


def _shards(root: Path, photos: list[Photo]) -> None:
    import cv2

    def canny(pixels: np.ndarray) -> np.ndarray:
        return np.repeat(cv2.Canny(pixels, 80, 160)[..., None], 3, axis=2)

    def gray(pixels: np.ndarray) -> np.ndarray:
        return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)

    def blur(pixels: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(pixels, (0, 0), 2.5)

    def write(task: str, inputs: int, make: Callable[[Photo], tuple[str, list[np.ndarray], np.ndarray]]) -> None:
        name = shard_name(task, inputs, 0)
        chosen = [photo for photo in photos if photo.caption][: 4 if inputs < 2 else 1]
        with training_shard(root, name) as writer:
            for photo in chosen:
                instruction, sources, output = make(photo)
                lossless = task == "image_to_canny"
                sizes = tuple((image.shape[1], image.shape[0]) for image in [*sources, output])
                lineage = Lineage((photo.uid,), (photo.url,), ("public domain",))
                stamp = RecipeStamp(task, 1, {"sigma": 2.5, "seed": len(photo.caption)})
                sample = Sample(
                    f"{task}-{photo.key}", task, instruction, sizes, lineage, stamp, {"quality.sharpness": 0.25}
                )
                output_data = EncodedImage(encode(output, "png"), "png") if lossless else _jpeg(output)
                writer.add(sample, [_jpeg(image) for image in sources], output_data)
        outputs = [paths.shard_tar(root, name), paths.shard_index(root, name)]
        lost = {"no_caption": 1, "duplicate": 2}
        commit(root, f"materialize-{task}", name, outputs, Counts(len(chosen), lost), {"recipe": task})

    one, two, three = placeholder(1), placeholder(2), placeholder(3)
    write("text_to_image", 0, lambda p: (p.caption, [], p.pixels))
    write(
        "image_to_canny",
        1,
        lambda p: (f"Trace the edges of {one} as white lines on black.", [p.pixels], canny(p.pixels)),
    )
    write("canny_to_image", 1, lambda p: (f"Follow the edges in {one}: {p.caption}.", [canny(p.pixels)], p.pixels))
    write(
        "deblur", 1, lambda p: (f"{one} was taken out of focus. Give it back its detail.", [blur(p.pixels)], p.pixels)
    )
    write("colorize", 1, lambda p: (f"Bring color to the black-and-white picture {one}.", [gray(p.pixels)], p.pixels))
    write(
        "subject_pair",
        2,
        lambda p: (
            f"Show what {one} and {two} have in common, from another side and in softer light.",
            [p.pixels[: p.pixels.shape[0] // 2], p.pixels[:, : p.pixels.shape[1] // 3]],
            p.pixels,
        ),
    )
    write(
        "few_shot",
        3,
        lambda p: (
            f"{one} becomes {two}. Do the same with {three}, and mind that nothing else changes on the way there.",
            [photos[1].pixels, canny(photos[1].pixels), p.pixels],
            canny(p.pixels),
        ),
    )


def _jpeg(pixels: np.ndarray) -> EncodedImage:
    return EncodedImage(encode(pixels, "jpeg", 90), "jpeg")
