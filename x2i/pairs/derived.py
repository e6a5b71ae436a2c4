"""Derived pairs in shards: which images of which samples they are made of, and the samples that they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from x2i.image.hashes import sha256
from x2i.pairs.algebra import DerivedPair, KnownPair, Rule, bare_words, derive
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.seeding import stable_hash
from x2i.store.files.tar import read_range
from x2i.store.reshard import read_members, shard_batches, source_shards
from x2i.store.shards import EncodedImage

_IMAGE = pa.struct(
    [
        ("source", pa.int32()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("suffix", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
_TEXTS = pa.list_(pa.string())
DERIVED_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "task", "instruction", "rule")),
        *((name, _IMAGE) for name in ("input", "output")),
        *((name, _TEXTS) for name in ("made_of", "uids", "urls", "licenses")),
    ]
)
"""A planned pair: where its images lie in the tars of the sources, and the lineage of all samples it follows from."""


@dataclass(frozen=True)
class _Known:
    """A sample with one input: where its images lie, and its lineage."""

    task: str
    images: Mapping[str, Mapping[str, Any]]
    lineage: Lineage


def derived_rows(sources: Sequence[Path], rules: Sequence[Rule], per_image: int) -> list[dict[str, Any]]:
    """Returns the planned pairs (DERIVED_SCHEMA) that follow from the samples with one input of `sources`, by task.

    Images are compared by the sha256 of their bytes. Memory: about a kilobyte for each sample with one input.
    """
    pairs: list[KnownPair] = []
    known: list[_Known] = []
    for pair, about in _scanned(sources):
        pairs.append(pair)
        known.append(about)
    rows = [_row(pairs, known, one) for one in derive(pairs, rules, per_image)]
    return sorted(rows, key=lambda row: (row["task"], row["input"]["suffix"], row["output"]["suffix"], row["key"]))


def derived_sample(
    row: Mapping[str, Any], tars: Mapping[tuple[int, str], Path]
) -> tuple[Sample, list[EncodedImage], EncodedImage]:
    """Returns the sample of a planned pair, its input and its output, whose bytes are those of the sources."""
    images = [_read(row[name], tars) for name in ("input", "output")]
    sizes = tuple((row[name]["width"], row[name]["height"]) for name in ("input", "output"))
    lineage = Lineage(tuple(row["uids"]), tuple(row["urls"]), tuple(row["licenses"]))
    stamp = RecipeStamp("pairs", 1, {"rule": row["rule"], "made_of": list(row["made_of"])})
    sample = Sample(row["key"], row["task"], row["instruction"], sizes, lineage, stamp)
    return sample, images[:1], images[1]


def _scanned(sources: Sequence[Path]) -> Iterator[tuple[KnownPair, _Known]]:
    for source, folder in enumerate(sources):
        for shard in source_shards(folder):
            tars = {(source, shard.name): shard.tar}
            for table in shard_batches(shard):
                rows = [
                    {"source": source, "shard": shard.name, **row}
                    for row in table.to_pylist()
                    if row["num_inputs"] == 1
                ]
                for row, members in read_members(rows, tars):
                    yield _known(row, members)


def _known(row: Mapping[str, Any], members: Mapping[str, bytes]) -> tuple[KnownPair, _Known]:
    sample = Sample.from_json(members["json"])
    places, digests = {}, []
    parts = zip(
        ("before", "after"),
        row["image_names"],
        row["image_offsets"],
        row["image_bytes"],
        row["image_sizes"],
        strict=True,
    )
    for side, name, offset, size, (width, height) in parts:
        digests.append(sha256(members[name]))
        place = {"source": row["source"], "shard": row["shard"], "offset": offset, "size": size}
        places[side] = {**place, "suffix": name.rpartition(".")[2], "width": width, "height": height}
    pair = KnownPair(sample.key, digests[0], digests[1], bare_words(sample.instruction))
    return pair, _Known(sample.task, places, sample.source)


def _row(pairs: Sequence[KnownPair], known: Sequence[_Known], found: DerivedPair) -> dict[str, Any]:
    keys = [pairs[number].key for number in found.made_of]
    task = f"{known[found.made_of[0]].task[:32]}_{found.rule}"
    lineage: dict[str, tuple[str, str]] = {}
    for number in found.made_of:
        source = known[number].lineage
        lineage |= {uid: rest for uid, *rest in zip(source.uids, source.urls, source.licenses)}  # type: ignore[misc]
    return {
        "key": f"{found.rule}-{stable_hash(found.rule, *keys):016x}",
        "task": task,
        "instruction": f"{placeholder(1)} {found.words}",
        "rule": found.rule,
        "input": known[found.input[0]].images[found.input[1]],
        "output": known[found.output[0]].images[found.output[1]],
        "made_of": keys,
        "uids": list(lineage),
        "urls": [rest[0] for rest in lineage.values()],
        "licenses": [rest[1] for rest in lineage.values()],
    }


def _read(place: Mapping[str, Any], tars: Mapping[tuple[int, str], Path]) -> EncodedImage:
    data = read_range(tars[place["source"], place["shard"]], place["offset"], place["size"])
    suffix = place["suffix"]
    return EncodedImage(data, "jpeg" if suffix in ("jpg", "jpeg") else suffix)
