"""Stages that relate stored images to each other; each has one partition, since a row may join any two images."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError
from x2i.reasons import Status
from x2i.store import Dataset
from x2i.store.query.views import list_views

PARTITION = "00000"


def stored_images(dataset: Dataset, fields: list[str]) -> pa.Table:
    """Returns these fields of the index of every stored image, in key order. Raises UserError if there is none."""
    if not dataset.image_commits():
        raise UserError(f"{dataset.root}: no images yet: run `x2i crawl` first")
    index = dataset.images(["status", *fields])
    return index.filter(pc.equal(index["status"], str(Status.OK))).select(fields).combine_chunks()


def image_inputs(dataset: Dataset) -> dict[str, str]:
    """Returns the digests of all partitions of the image store, by name."""
    return {f"images/{commit.partition}": commit.outputs_digest for commit in dataset.image_commits()}


def table_inputs(dataset: Dataset, *names: str) -> dict[str, str]:
    """Returns the digests of the files of those columns and relations that exist, by path."""
    views = list_views(dataset)
    return {path: digest for name in names if name in views for path, digest in views[name].digests.items()}
