"""A dataset of given pictures, written through x2i.store as the crawl would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.photographs import Pixels
from x2i.image import encode, phash, sha256
from x2i.image_record import ImageRecord
from x2i.reasons import Reason, Status
from x2i.store import Dataset, paths
from x2i.store.commits import Commit, Counts, describe_outputs, write_commit
from x2i.store.images import image_partition


@dataclass(frozen=True)
class Given:
    """One picture of the dataset to be; without pixels it is an attempt that failed. url: "" for one of its own."""

    pixels: Pixels | None
    alt: str = ""
    title: str = ""
    figcaption: str = ""
    quality: int = 92
    url: str = ""


def store(root: Path, pictures: Sequence[Given], partition_size: int = 4) -> Dataset:
    """Writes and commits `pictures` in partitions of `partition_size` attempts."""
    dataset = Dataset.create(root, "stored")
    for number in range(-(-len(pictures) // partition_size)):
        partition = paths.partition_name(number)
        with image_partition(root, partition) as writer:
            for row, given in enumerate(pictures[number * partition_size : (number + 1) * partition_size]):
                writer.add(*_record(f"{partition}-{row:05d}", given))
        files = (paths.image_tar(root, partition), paths.image_index(root, partition))
        ok = sum(record.status is Status.OK for record in writer.records)
        failed = {str(Reason.TIMEOUT): len(writer.records) - ok} if ok < len(writer.records) else {}
        outputs = describe_outputs(root, files)
        write_commit(root, Commit("crawl", partition, 1, {}, {}, partition, outputs, Counts(ok, {}, failed)))
    return dataset


def _record(key: str, given: Given) -> tuple[ImageRecord, bytes | None]:
    url, uid = given.url or f"http://site.test/{key}.jpg", key.replace("-", "0" * 14)
    if given.pixels is None:
        return ImageRecord(key, uid, url, Status.FAILED, Reason.TIMEOUT), None
    data = encode(given.pixels, "jpeg", given.quality)
    height, width = given.pixels.shape[:2]
    said = {name: text for name in ("title", "figcaption") if (text := getattr(given, name))}
    record = ImageRecord(
        key,
        uid,
        url,
        Status.OK,
        text=given.alt,
        width=width,
        height=height,
        format="jpeg",
        bytes=len(data),
        sha256=sha256(data),
        phash=phash(given.pixels),
        extra=json.dumps(said),
    )
    return record, data
