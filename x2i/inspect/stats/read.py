"""The numbers of datasets and shards, read in one pass, partition by partition: nothing is held but sums and bins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError
from x2i.inspect.stats.group_sums import Ranking, Tally
from x2i.inspect.stats.histograms import Gathering, Spread
from x2i.inspect.target import Kind, Target
from x2i.reasons import Status
from x2i.store import paths
from x2i.store.commits import list_commits
from x2i.store.dataset import ingest_stages
from x2i.store.files.atomic import read_table
from x2i.store.reshard import shard_batches
from x2i.store.shards import Shard

if TYPE_CHECKING:
    import numpy as np

IMAGE_FIELDS = ("host", "format", "license", "status", "reason", "opt_out", "http_status")
SAMPLE_FIELDS = ("task", "num_inputs", "recipe", "image_format", "shard")
IMAGE_MEASURES = ("images", "kept", "filtered", "failed", "bytes", "megapixels")
SAMPLE_MEASURES = ("samples", "images", "bytes", "megapixels", "instruction_bytes")
IMAGE_COLUMNS = [
    *("status", "reason", "host", "license", "format", "opt_out", "http_status", "text"),
    *("bytes", "size", "width", "height", "original_width", "original_height"),
]
OnPart = Callable[[str], None]


@dataclass(frozen=True)
class ImageStats:
    """The image store. bytes_stored: of the kept images as they lie here; bytes_fetched: as their servers sent them.

    rankings: by field (always host, format and license). spreads: of the kept images; alt texts of all attempts.
    """

    attempted: int
    kept: int
    filtered: Mapping[str, int]
    failed: Mapping[str, int]
    resized: int
    with_text: int
    bytes_fetched: int
    bytes_stored: int
    megapixels: float
    rankings: Mapping[str, Ranking]
    spreads: tuple[Spread, ...]


@dataclass(frozen=True)
class SampleStats:
    """The training shards. bytes: of the members, without tar headers. megapixels: of all images, inputs included."""

    samples: int
    shards: int
    images: int
    bytes: int
    megapixels: float
    rankings: Mapping[str, Ranking]
    spreads: tuple[Spread, ...]


@dataclass(frozen=True)
class Stats:
    """images, samples: None where the targets hold none."""

    names: tuple[str, ...]
    images: ImageStats | None
    samples: SampleStats | None


def read_stats(targets: Sequence[Target], by: str | None = None, top: int = 10, on_part: OnPart | None = None) -> Stats:
    """Reads the numbers of all `targets` together.

    by: a further field to rank by. top: groups of each field that are named. on_part(name) is called after each file.
    Raises UserError if a target holds neither images nor samples, or nothing there has the field `by`.
    """
    images, samples = _Images(by), _Samples(by)
    for target in targets:
        _read(target, images, samples, on_part or (lambda name: None))
    found = Stats(
        tuple(str(target.path) for target in targets),
        images.stats(top) if images.parts else None,
        samples.stats(top) if samples.parts else None,
    )
    fields = (*(IMAGE_FIELDS if found.images else ()), *(SAMPLE_FIELDS if found.samples else ()))
    if not fields:
        raise UserError(f"{', '.join(found.names)}: neither images nor samples yet: run `x2i crawl` first")
    if by is not None and by not in fields:
        raise UserError(f"--by {by}: expected one of {', '.join(fields)}")
    return found


def _read(target: Target, images: _Images, samples: _Samples, on_part: OnPart) -> None:
    if target.kind is Kind.TABLE:
        raise UserError(
            f"{target.path}: a table; expected a dataset, a folder of shards, a shard or an image partition"
        )
    for path in _image_indexes(target):
        images.add(read_table(path, IMAGE_COLUMNS))
        on_part(path.name)
    if target.kind is Kind.DATASET and target.dataset is not None:
        for commit in list_commits(target.dataset.root, "caption"):
            path = paths.column_file(target.dataset.root, "captions", commit.partition)
            if path.exists():
                images.add_captions(read_table(path, ["caption"])["caption"])
                on_part(path.name)
    for shard in target.shards():
        samples.add(shard)
        on_part(shard.tar.name)


def _image_indexes(target: Target) -> Iterator[Path]:
    if target.kind is Kind.IMAGES:
        yield target.path.with_suffix(paths.INDEX_SUFFIX)
    elif target.kind is Kind.DATASET and target.dataset is not None:
        for stage in ingest_stages(target.dataset.root):
            for commit in list_commits(target.dataset.root, stage):
                path = paths.image_index(target.dataset.root, commit.partition)
                if path.exists():
                    yield path


class _Images:
    def __init__(self, by: str | None) -> None:
        self.parts = 0
        self._lost: Counter[tuple[str, str]] = Counter()
        self._sums: Counter[str] = Counter()
        self._megapixels = 0.0
        fields = {"host", "format", "license", *([by] if by in IMAGE_FIELDS else [])}
        self._tallies = {field: Tally(field, IMAGE_MEASURES) for field in sorted(fields)}
        self._spreads = {
            "original_longest": Gathering("longest side before", "pixels as fetched"),
            "longest": Gathering("longest side", "pixels as stored"),
            "shortest": Gathering("shortest side", "pixels as stored"),
            "aspect": Gathering("aspect ratio", "width / height"),
            "fetched": Gathering("bytes before", "a file, as fetched"),
            "stored": Gathering("bytes", "a file, as stored"),
            "text": Gathering("alt text", "characters"),
            "caption": Gathering("caption", "characters"),
        }

    def add(self, table: pa.Table) -> None:
        import numpy as np

        self.parts += 1
        ok = np.asarray(pc.equal(table["status"], str(Status.OK)))
        filtered = np.asarray(pc.equal(table["status"], str(Status.FILTERED)))
        number = {name: table[name].to_numpy().astype(np.float64) for name in IMAGE_COLUMNS[-6:]}
        width, height = number["width"], number["height"]
        before = np.maximum(number["original_width"], number["original_height"])
        text = pc.utf8_length(table["text"]).to_numpy()
        self._lost.update(zip(table["status"].to_pylist(), table["reason"].to_pylist()))
        self._sums.update(
            attempted=table.num_rows,
            kept=int(ok.sum()),
            resized=int((ok & (before > np.maximum(width, height))).sum()),
            text=int((text > 0).sum()),
            fetched=int(number["bytes"][ok].sum()),
            stored=int(number["size"][ok].sum()),
        )
        megapixels = np.where(ok, width * height / 1e6, 0.0)
        self._megapixels += float(megapixels.sum())
        measures = {
            "images": np.ones(table.num_rows),
            "kept": ok.astype(np.float64),
            "filtered": filtered.astype(np.float64),
            "failed": (~ok & ~filtered).astype(np.float64),
            "bytes": np.where(ok, number["size"], 0.0),
            "megapixels": megapixels,
        }
        for field, tally in self._tallies.items():
            tally.add(table[field].cast(pa.string()), measures)
        self._gather(
            original_longest=before[ok],
            longest=np.maximum(width, height)[ok],
            shortest=np.minimum(width, height)[ok],
            aspect=width[ok] / np.maximum(height[ok], 1),
            fetched=number["bytes"][ok],
            stored=number["size"][ok],
            text=text,
        )

    def add_captions(self, captions: pa.ChunkedArray) -> None:
        self._gather(caption=pc.utf8_length(captions.fill_null("")).to_numpy())

    def _gather(self, **values: np.ndarray) -> None:
        for name, found in values.items():
            self._spreads[name].add(found)

    def stats(self, top: int) -> ImageStats:
        lost = {
            status: {str(reason): n for (was, reason), n in sorted(self._lost.items(), key=str) if was == status}
            for status in (Status.FILTERED, Status.FAILED)
        }
        return ImageStats(
            attempted=self._sums["attempted"],
            kept=self._sums["kept"],
            filtered=lost[Status.FILTERED],
            failed=lost[Status.FAILED],
            resized=self._sums["resized"],
            with_text=self._sums["text"],
            bytes_fetched=self._sums["fetched"],
            bytes_stored=self._sums["stored"],
            megapixels=self._megapixels,
            rankings={field: tally.ranking(top) for field, tally in self._tallies.items()},
            spreads=_spreads(self._spreads),
        )


class _Samples:
    def __init__(self, by: str | None) -> None:
        self.parts = 0
        self._sums: Counter[str] = Counter()
        self._megapixels = 0.0
        fields = {"task", "num_inputs", "image_format", *([by] if by in SAMPLE_FIELDS else [])}
        self._tallies = {field: Tally(field, SAMPLE_MEASURES) for field in sorted(fields)}
        self._spreads = {
            "input": Gathering("input images", "longest side, pixels"),
            "output": Gathering("output images", "longest side, pixels"),
            "aspect": Gathering("aspect ratio of outputs", "width / height"),
            "bytes": Gathering("bytes of a sample", "its images"),
            "instruction": Gathering("instruction", "characters"),
        }

    def add(self, shard: Shard) -> None:
        self.parts += 1
        for table in shard_batches(shard):
            self._add(shard.name, table)

    def _add(self, shard: str, table: pa.Table) -> None:
        import numpy as np

        rows = table.num_rows
        count = pc.list_value_length(table["image_sizes"]).to_numpy().astype(np.int64)
        sizes = np.asarray(pc.list_flatten(pc.list_flatten(table["image_sizes"])), np.float64).reshape(-1, 2)
        owner = np.repeat(np.arange(rows), count)
        image_bytes = np.asarray(pc.list_flatten(table["image_bytes"]), np.float64)
        is_output = np.zeros(len(sizes), bool)
        is_output[np.cumsum(count) - 1] = True
        of_sample = np.bincount(owner, image_bytes, rows)
        megapixels = np.bincount(owner, sizes.prod(axis=1) / 1e6, rows)
        measures = {
            "samples": np.ones(rows),
            "images": count.astype(np.float64),
            "bytes": of_sample + table["json_size"].to_numpy(),
            "megapixels": megapixels,
            "instruction_bytes": table["instruction_bytes"].to_numpy().astype(np.float64),
        }
        for field, tally in self._tallies.items():
            tally.add(_sample_values(field, shard, table), measures)
        self._sums.update(samples=rows, images=len(sizes), bytes=int(measures["bytes"].sum()))
        self._megapixels += float(megapixels.sum())
        longest = sizes.max(axis=1)
        self._spreads["input"].add(longest[~is_output])
        self._spreads["output"].add(longest[is_output])
        self._spreads["aspect"].add(sizes[is_output, 0] / sizes[is_output, 1].clip(1))
        self._spreads["bytes"].add(of_sample)
        self._spreads["instruction"].add(pc.utf8_length(table["instruction"]).to_numpy())

    def stats(self, top: int) -> SampleStats:
        return SampleStats(
            samples=self._sums["samples"],
            shards=self.parts,
            images=self._sums["images"],
            bytes=self._sums["bytes"],
            megapixels=self._megapixels,
            rankings={field: t.ranking(10**6 if field == "task" else top) for field, t in self._tallies.items()},
            spreads=_spreads(self._spreads),
        )


def _sample_values(field: str, shard: str, table: pa.Table) -> Any:
    if field == "shard":
        return pa.array([shard] * table.num_rows, pa.string())
    if field == "image_format":
        return pa.array([names[-1].rsplit(".", 1)[-1] for names in table["image_names"].to_pylist()], pa.string())
    return table[field].cast(pa.string())


def _spreads(gathered: Mapping[str, Gathering]) -> tuple[Spread, ...]:
    return tuple(spread for gathering in gathered.values() if (spread := gathering.spread()) is not None)
