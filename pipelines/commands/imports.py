"""`x2i import`: public datasets, in the format their authors ship, become training shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.engine.options import OutOption, RunOptions, StorePath
from pipelines.engine.stage import Outcome, PlannedPartition
from x2i.command_options import with_options
from x2i.errors import UserError
from x2i.importers import omnigen_jsonl
from x2i.store.files.remote import dataset_path

if TYPE_CHECKING:
    import pyarrow as pa

    from x2i.importers.omnigen_jsonl import BadLine, Record
    from x2i.reasons import Dropped
    from x2i.store import Dataset
    from x2i.store.shards import EncodedImage

NAME = "import-x2i-jsonl"
UNREADABLE = "unreadable"
MAX_PICTURE_BYTES = 256 << 20
SHARD_FORMATS = frozenset({"jpeg", "png", "webp"})


class Source(StrEnum):
    X2I_JSONL = "x2i-jsonl"


@dataclass(frozen=True)
class ImportStage:
    """Lines of an OmniGen JSONL -> shards. file, images: paths as typed; where they lie decides no byte.

    strip_prefix: taken off the paths in the lines. task: of lines without one. license: of all pictures, "" if unknown.
    """

    file: str
    images: str
    strip_prefix: str = ""
    task: str | None = None
    license: str = ""
    shard_size: int = 1000

    name = NAME
    format_version = 1

    def config(self) -> dict[str, Any]:
        return {"shard_size": self.shard_size, "task": self.task, **self._partition_config()}

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        from x2i.store.commits import file_digest

        return {"lines": file_digest(dataset_path(self.file))}

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        """Yields ranges of lines of one task, one number of inputs and one set of formats; then what cannot be read."""
        from x2i.store.shards import shard_name

        held: dict[tuple[str, int, tuple[str, ...]], list[Record]] = {}
        numbers: Counter[tuple[str, int]] = Counter()
        bad: list[BadLine] = []
        bad_partitions = 0

        def partition(kind: tuple[str, int, tuple[str, ...]]) -> PlannedPartition:
            rows, group = held.pop(kind), kind[:2]
            numbers[group] += 1
            return PlannedPartition(
                shard_name(*group, numbers[group] - 1), _record_rows(rows), self._partition_config()
            )

        for found in omnigen_jsonl.read_lines(dataset_path(self.file), self.task):
            if not isinstance(found, omnigen_jsonl.Record):
                bad.append(found)
                if len(bad) >= self.shard_size:
                    yield PlannedPartition(
                        f"{UNREADABLE}-{bad_partitions:05d}", _bad_rows(bad), self._partition_config()
                    )
                    bad, bad_partitions = [], bad_partitions + 1
                continue
            paths = (*found.inputs, found.output)
            kind = (found.task, len(found.inputs), tuple(omnigen_jsonl.suffix_kind(path) for path in paths))
            held.setdefault(kind, []).append(found)
            if len(held[kind]) >= self.shard_size:
                yield partition(kind)
        for kind in sorted(held):
            yield partition(kind)
        if bad:
            yield PlannedPartition(f"{UNREADABLE}-{bad_partitions:05d}", _bad_rows(bad), self._partition_config())

    def worker(self, root: Path) -> ImportWorker:
        return ImportWorker(root, self)

    def _partition_config(self) -> dict[str, Any]:
        name = dataset_path(self.file).name
        return {"file": name, "strip_prefix": self.strip_prefix, "license": self.license}


class ImportWorker:
    """Makes the shard of one range of lines, and a list of the lines that gave no sample, each with its reason."""

    def __init__(self, root: Path, stage: ImportStage) -> None:
        from x2i.store.tombstones import Tombstones

        self._root, self._stage = root, stage
        self._tombstones = Tombstones.load(root)
        self._images = dataset_path(stage.images)
        self._file = dataset_path(stage.file).name

    def __call__(self, partition: str, rows: pa.Table) -> Outcome:
        from x2i.reasons import Dropped, Reason
        from x2i.store import paths
        from x2i.store.commits import Counts
        from x2i.store.files.atomic import write_bytes
        from x2i.store.shards import training_shard

        rejected: list[dict[str, Any]] = []
        shard = None
        with ExitStack() as stack:
            for row in rows.to_pylist():
                made = Dropped(Reason.BAD_RECORD, row["problem"]) if "problem" in row else self._make(row)
                if isinstance(made, Dropped):
                    rejected.append({"line": row["line"], "reason": str(made.reason), "detail": made.detail})
                    continue
                if shard is None:
                    shard = stack.enter_context(training_shard(self._root, partition))
                shard.add(*made)
        outputs = [paths.shard_tar(self._root, partition), paths.shard_index(self._root, partition)] if shard else []
        if rejected:
            outputs.append(self._root / "rejected" / f"{partition}.jsonl")
            write_bytes(outputs[-1], "".join(f"{json.dumps(entry)}\n" for entry in rejected).encode())
        reasons = Counter(entry["reason"] for entry in rejected)
        taken_down = reasons.pop(Reason.TAKEN_DOWN, 0)
        filtered = {str(Reason.TAKEN_DOWN): taken_down} if taken_down else {}
        return Outcome(
            tuple(outputs), Counts(len(shard.rows) if shard else 0, filtered, failed=dict(sorted(reasons.items())))
        )

    def _make(self, row: Mapping[str, Any]) -> tuple[Any, list[EncodedImage], EncodedImage] | Dropped:
        """Returns (sample, inputs, output), or why there is none."""
        from x2i.reasons import Dropped, DroppedError, Reason
        from x2i.sample import InvalidSampleError, Lineage

        fields = ("key", "task", "instruction", "output")
        record = omnigen_jsonl.Record(row["line"], inputs=tuple(row["inputs"]), **{name: row[name] for name in fields})
        names = (*record.inputs, record.output)
        try:
            read = [self._read(name) for name in names]
            source = Lineage(tuple(uid for uid, _, _ in read), names, (self._stage.license,) * len(names))
            sample = record.sample(tuple(size for _, size, _ in read), source, self._file)
        except DroppedError as error:
            return error.verdict
        except InvalidSampleError as error:
            return Dropped(Reason.BAD_RECORD, str(error))
        *inputs, output = (image for _, _, image in read)
        return sample, inputs, output

    def _read(self, name: str) -> tuple[str, tuple[int, int], EncodedImage]:
        """Returns (uid, (width, height), image). The bytes stay as they are, in every format that a shard may hold."""
        from x2i.image import decode, encode, read_header, sha256
        from x2i.reasons import DroppedError, Reason
        from x2i.store.shards import EncodedImage

        try:
            path = omnigen_jsonl.locate(self._images, name, self._stage.strip_prefix)
            if path.stat().st_size > MAX_PICTURE_BYTES:
                raise DroppedError(Reason.BODY_TOO_LARGE, f"more than {MAX_PICTURE_BYTES:,} bytes")
            data = path.read_bytes()
            pixels = decode(data)
            image_format = read_header(data).format
        except (OSError, ValueError) as error:
            raise DroppedError(Reason.FILE_ERROR, getattr(error, "strerror", None) or f"{name}: {error}") from error
        except DroppedError as error:
            raise DroppedError(error.verdict.reason, f"{name}: {error.verdict.detail}") from error
        size = (pixels.shape[1], pixels.shape[0])
        uid = sha256(data)[:24]
        if uid in self._tombstones.uids:
            raise DroppedError(Reason.TAKEN_DOWN, name)
        if image_format in SHARD_FORMATS:
            return uid, size, EncodedImage(data, image_format)
        return uid, size, EncodedImage(encode(pixels, "png"), "png")


def _record_rows(records: list[Record]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema(
        [
            *(("line", pa.int64()), ("key", pa.string()), ("task", pa.string()), ("instruction", pa.string())),
            *(("inputs", pa.list_(pa.string())), ("output", pa.string())),
        ]
    )
    rows = [{**vars(record), "line": record.number, "inputs": list(record.inputs)} for record in records]
    return pa.Table.from_pylist(rows, schema=schema)


def _bad_rows(lines: list[BadLine]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "line": pa.array([line.number for line in lines], pa.int64()),
            "problem": pa.array([line.problem for line in lines], pa.string()),
        }
    )


@with_options
def command(
    source: Annotated[Source, typer.Argument(help="The format: x2i-jsonl is the training JSONL of OmniGen and X2I.")],
    path: Annotated[
        StorePath, typer.Argument(parser=dataset_path, metavar="FILE", help="The .jsonl or .jsonl.gz file.")
    ],
    run: RunOptions,
    out: OutOption,
    images: Annotated[
        StorePath | None,
        typer.Option(parser=dataset_path, metavar="FOLDER", help="Where the paths begin. Default: the file's folder."),
    ] = None,
    strip_prefix: Annotated[
        str, typer.Option(help="Take this off the front of paths, such as /data/author/x2i where they are absolute.")
    ] = "",
    task: Annotated[str | None, typer.Option(help="The task of lines that name none.")] = None,
    license: Annotated[str, typer.Option(help="The license of all pictures, name or address, if you know it.")] = "",
    shard_size: Annotated[int, typer.Option(min=1, help="Samples per shard at most.")] = 1000,
) -> None:
    """Read a public dataset into training shards. Pictures are checked by decoding; their bytes stay as they are.

    Each line is {"task_type", "instruction", "input_images", "output_image"}. A line that breaks a rule, or whose
    picture is missing, damaged or outside the folder, gives no sample: it is counted by reason, and named with its line
    number in OUT/rejected/. Pictures of other formats than JPEG, PNG and WebP become PNG.

        x2i import x2i-jsonl x2i.jsonl --out data

        x2i import x2i-jsonl anno.jsonl --images pictures --strip-prefix /share/author/ --task edit --out data
    """
    from pipelines.engine.run import dataset_for_ingest, run_stages

    if not path.exists():
        raise UserError(f"{path}: no such file; expected a .jsonl of OmniGen's format")
    folder = images if images is not None else path.parent
    if not folder.is_dir():
        raise UserError(f"--images {folder}: no such folder")
    stage = ImportStage(str(path.absolute()), str(folder.absolute()), strip_prefix, task, license, shard_size)
    dataset = dataset_for_ingest(out, run)
    run_stages([stage], dataset, run)
    rejected = dataset.root / "rejected"
    if not run.dry_run and rejected.is_dir():
        typer.echo(f"lines that gave no sample, with their reasons: {rejected}", err=True)
