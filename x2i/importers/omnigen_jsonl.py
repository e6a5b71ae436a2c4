"""OmniGen's training JSONL: what a line says, and every way in which published lines are wrong.

Published files were seen with `output_images` for `output_image`, no task_type, misspelt tasks, absolute paths of their
authors and pictures that are not there.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from x2i.sample import KEY_PATTERN, InvalidSampleError, Lineage, RecipeStamp, Sample
from x2i.seeding import stable_hash

NAME = "x2i-jsonl"
VERSION = 1
MAX_LINE_BYTES = 1 << 20
LINES_PER_FOLDER = 1000
MEMBER_PATTERN = re.compile(r"(?P<key>[^.]+)\.output\.[a-z]+")
UNKNOWN = Lineage(("unknown",), ("",), ("",))


@dataclass(frozen=True)
class Record:
    """One readable line. inputs, output: paths as written. key: of the sample to be."""

    number: int
    key: str
    task: str
    instruction: str
    inputs: tuple[str, ...]
    output: str

    def sample(self, sizes: tuple[tuple[int, int], ...], source: Lineage, file: str) -> Sample:
        """Returns the sample; `file` is the JSONL's name. Raises InvalidSampleError if the line breaks the rules."""
        stamp = RecipeStamp(NAME, VERSION, {"file": file, "line": self.number})
        return Sample(self.key, self.task, self.instruction, sizes, source, stamp)


@dataclass(frozen=True)
class BadLine:
    """A line from which no sample can be made; `problem` says why, for people."""

    number: int
    problem: str


def read_lines(path: Path, default_task: str | None = None) -> Iterator[Record | BadLine]:
    """Yields what every line of a .jsonl (or .jsonl.gz) says, in order; empty lines are passed over.

    default_task: of lines without task_type. The key of a picture called <key>.output.jpg is used again where it is
    lawful and stands for the first time; every other sample is called by its task and its line.
    Memory: one line, and 8 bytes and a set's entry for each key used again.
    """
    seen: set[int] = set()
    with path.open("rb") as raw, gzip.open(raw) if path.name.endswith(".gz") else raw as stream:
        for number, text in _numbered(stream):
            found = _too_long(number) if text is None else parse_line(number, text, default_task)
            if isinstance(found, Record):
                found = _named_once(found, seen)
            yield found


def parse_line(number: int, text: bytes, default_task: str | None = None) -> Record | BadLine:
    """Returns what line `number` (counted from 1) says. The placeholders are checked against the number of inputs."""
    try:
        document = json.loads(text)
    except ValueError as error:
        return BadLine(number, f"no JSON: {error}")
    if not isinstance(document, dict):
        return BadLine(number, f"expected a JSON object, found {type(document).__name__}")
    try:
        task = _task(document, default_task)
        inputs = _paths(document, ("input_images",))
        outputs = _paths(document, ("output_image", "output_images"))
        instruction = document.get("instruction")
        if not isinstance(instruction, str):
            return BadLine(number, f"instruction: expected text, found {instruction!r}"[:200])
        if len(outputs) != 1:
            return BadLine(number, f"output_image: expected one path, found {len(outputs)}")
        key = f"{task}-{number // LINES_PER_FOLDER:06d}-{number % LINES_PER_FOLDER:03d}"
        record = Record(number, key, task, instruction, inputs, outputs[0])
        record.sample(((1, 1),) * (len(inputs) + 1), UNKNOWN, "")
    except (ValueError, InvalidSampleError) as error:
        return BadLine(number, str(error))
    return record


def suffix_kind(path: str) -> str:
    """Returns the format that a path's ending promises, as shards spell it: jpg for .jpeg and .JPG."""
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    return "jpg" if suffix == "jpeg" else suffix


def locate(root: Path, path: str, strip_prefix: str) -> Path:
    """Returns the file that `path` of a line means, below the folder `root`.

    strip_prefix: taken off the front of paths that have it. Raises ValueError for a path that leads outside.
    """
    inside = path.removeprefix(strip_prefix) if strip_prefix else path
    inside = inside.replace("\\", "/")
    if strip_prefix and path.startswith(strip_prefix):
        inside = inside.lstrip("/")
    parts = PurePosixPath(inside).parts
    if not parts or inside.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in inside:
        raise ValueError(f"{path!r} leads outside the folder of pictures (--strip-prefix takes a prefix off)")
    return root.joinpath(*parts)


def _task(document: Mapping[str, Any], default: str | None) -> str:
    """Returns the task in the letters that tasks here have: try-on becomes try_on."""
    told = document.get("task_type", default)
    if not isinstance(told, str) or not told.strip():
        raise ValueError(f"task_type: expected a name, found {told!r} (--task names one for lines without)"[:200])
    return re.sub(r"[^a-z0-9]+", "_", told.strip().lower()).strip("_")[:40] or "task"


def _paths(document: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    found: Any = next((document[name] for name in names if document.get(name) is not None), [])
    paths = [found] if isinstance(found, str) else found
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise ValueError(f"{names[0]}: expected a list of paths, found {found!r}"[:200])
    return tuple(paths)


def _named_once(record: Record, seen: set[int]) -> Record:
    match = MEMBER_PATTERN.fullmatch(PurePosixPath(record.output).name)
    if match is None or not KEY_PATTERN.fullmatch(match["key"]):
        return record
    mark = stable_hash(match["key"])
    if mark in seen:
        return record
    seen.add(mark)
    return Record(**{**vars(record), "key": match["key"]})


def _numbered(stream: Any) -> Iterator[tuple[int, bytes | None]]:
    """Yields (number, line), without empty ones; None for a line that is too long to be read."""
    number = 0
    while text := stream.readline(MAX_LINE_BYTES):
        number += 1
        too_long = len(text) == MAX_LINE_BYTES and not text.endswith(b"\n")
        while too_long and text and not text.endswith(b"\n"):
            text = stream.readline(MAX_LINE_BYTES)
        if too_long:
            yield number, None
        elif text.strip():
            yield number, text


def _too_long(number: int) -> BadLine:
    return BadLine(number, f"longer than {MAX_LINE_BYTES:,} bytes")
