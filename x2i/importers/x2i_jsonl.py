"""OmniGen's training JSONL: what a line says, and every way in which published lines are wrong.

Published files were seen with `output_images` for `output_image`, no task_type, misspelt tasks, absolute paths of their
authors and images that are not there.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar

from x2i.errors import UserError
from x2i.importers.base import Importer, ImportRecord, Makes, Rejected, SourceImage, SourceSample
from x2i.importers.example import picture
from x2i.importers.locations import Location, inside, local_inside
from x2i.options import Option
from x2i.reasons import Reason
from x2i.sample import KEY_PATTERN, placeholder
from x2i.seeding import stable_hash
from x2i.store.files.remote import dataset_path

MAX_LINE_BYTES = 1 << 20
LINES_PER_GROUP = 1000
MEMBER_PATTERN = re.compile(r"(?P<key>[^.]+)\.output\.[a-z]+")


@dataclass(frozen=True)
class X2IJsonl(Importer):
    """Read the training JSONL of OmniGen and X2I (.jsonl or .jsonl.gz) into training shards.

    Each line is {"task_type", "instruction", "input_images", "output_image"}. A line that breaks a rule, or whose image
    is missing, damaged or outside the folder, gives no sample: it is counted by reason, and named with its line number
    in OUT/rejected/. Images keep their bytes; other formats than JPEG, PNG and WebP become PNG.
    """

    name: ClassVar[str] = "x2i-jsonl"
    title: ClassVar[str] = "The training JSONL of OmniGen and X2I"
    makes: ClassVar[tuple[Makes, ...]] = ("shards",)
    root_option: ClassVar[str] = "--images"

    images: Annotated[
        str, Option("Folder where the paths begin. Default: the file's folder.", metavar="FOLDER", decides=False)
    ] = ""
    strip_prefix: Annotated[
        str, Option("Take this off the front of paths, such as /data/author/x2i where they are absolute.")
    ] = ""
    task: Annotated[str, Option("The task of lines that name none.")] = ""
    license: Annotated[str, Option("The license of all images, name or address, if you know it.")] = ""

    def root(self, path: Path) -> Path:
        """Returns the folder of images. Raises UserError if there is none."""
        folder = dataset_path(self.images) if self.images else path.parent
        if not folder.is_dir():
            raise UserError(f"--images {folder}: no such folder")
        return folder

    def records(self, path: Path) -> Iterator[ImportRecord | Rejected]:
        """Yields what every line says, in order; empty lines are passed over.

        The key of an image called <key>.output.jpg is used again where it is lawful and stands for the first time.
        Memory: one line, and 8 bytes and a set's entry for each key used again.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; expected a .jsonl of OmniGen's format")
        seen: set[int] = set()
        root = self.root(path)
        with path.open("rb") as raw, gzip.open(raw) if path.name.endswith(".gz") else raw as stream:
            for number, text in _numbered(stream):
                if text is None:
                    yield Rejected(path.name, number, f"longer than {MAX_LINE_BYTES:,} bytes")
                    continue
                found = self.line(path.name, number, text, root)
                yield _named_once(found, seen) if isinstance(found, ImportRecord) else found

    def line(self, file: str, number: int, text: bytes, root: Path) -> ImportRecord | Rejected:
        """Returns what one line says."""
        try:
            document = json.loads(text)
        except ValueError as error:
            return Rejected(file, number, f"no JSON: {error}")
        if not isinstance(document, dict):
            return Rejected(file, number, f"expected a JSON object, found {type(document).__name__}")
        try:
            task = _task(document, self.task)
            inputs = _paths(document, ("input_images",))
            outputs = _paths(document, ("output_image", "output_images"))
            instruction = document.get("instruction")
            if not isinstance(instruction, str):
                raise ValueError(f"instruction: expected text, found {instruction!r}"[:200])
            if len(outputs) != 1:
                raise ValueError(f"output_image: expected one path, found {len(outputs)}")
        except ValueError as error:
            return Rejected(file, number, str(error))
        try:
            *read, output = (self._image(path, root) for path in (*inputs, *outputs))
        except ValueError as error:
            return Rejected(file, number, f"{error} (--strip-prefix takes a prefix off)", Reason.FILE_ERROR)
        key = f"{task}-{number // LINES_PER_GROUP:06d}-{number % LINES_PER_GROUP:03d}"
        return ImportRecord(file, number, sample=SourceSample(key, task, instruction, tuple(read), output))

    @classmethod
    def example(cls, folder: Path) -> Path:
        lines: list[dict[str, Any]] = []
        for number, kind in enumerate(("jpeg", "png", "webp")):
            (folder / f"{number}.{kind}").write_bytes(picture(number, kind))
            lines.append({"task_type": "text_to_image", "instruction": f"picture {number}"})
            lines[-1]["output_image"] = f"{number}.{kind}"
        edit = {"task_type": "edit", "instruction": f"{placeholder(1)} as picture 1", "input_images": ["0.jpeg"]}
        lines.append({**edit, "output_image": "1.png"})
        path = folder / "example.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def _image(self, path: str, root: Path) -> SourceImage:
        """Raises ValueError for a path that leads outside the folder of images."""
        stripped = path
        if self.strip_prefix and path.startswith(self.strip_prefix):
            stripped = path.removeprefix(self.strip_prefix).lstrip("/\\")
        return SourceImage(Location(inside(local_inside(stripped, root))), license=self.license, extra={"path": path})


def _task(document: Mapping[str, Any], default: str) -> str:
    """Returns the task in the letters that tasks here have: try-on becomes try_on."""
    found = document.get("task_type") or default
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"task_type: expected a name, found {found!r} (--task names one for lines without)"[:200])
    return re.sub(r"[^a-z0-9]+", "_", found.strip().lower()).strip("_")[:40] or "task"


def _paths(document: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    found: Any = next((document[name] for name in names if document.get(name) is not None), [])
    paths = [found] if isinstance(found, str) else found
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise ValueError(f"{names[0]}: expected a list of paths, found {found!r}"[:200])
    return tuple(paths)


def _named_once(record: ImportRecord, seen: set[int]) -> ImportRecord:
    assert record.sample is not None
    match = MEMBER_PATTERN.fullmatch(PurePosixPath(record.sample.output.location.path).name)
    if match is None or not KEY_PATTERN.fullmatch(match["key"]):
        return record
    mark = stable_hash(match["key"])
    if mark in seen:
        return record
    seen.add(mark)
    return replace(record, sample=replace(record.sample, key=match["key"]))


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
