"""What an importer is: options, what it makes, and the records that it reads from a dataset in its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from x2i.importers.locations import Location
from x2i.importers.source_files import files_digest
from x2i.options import as_config
from x2i.reasons import Reason

Makes = Literal["images", "shards"]


@dataclass(frozen=True)
class SourceImage:
    """One image of a source and what was written beside it.

    text: the caption, verbatim; "" if there is none. extra: whatever else is worth keeping, as JSON values.
    """

    location: Location
    text: str = ""
    license: str = ""
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class SourceSample:
    """One training sample of a source. key: unique in it, 1 to 80 of a-z 0-9 _ -.

    task: a name of a-z 0-9 _. instruction: marks input k as `<img><|image_k|></img>`, k from 1.
    """

    key: str
    task: str
    instruction: str
    inputs: tuple[SourceImage, ...]
    output: SourceImage

    @property
    def images(self) -> tuple[SourceImage, ...]:
        """The inputs in order, then the output."""
        return (*self.inputs, self.output)


@dataclass(frozen=True)
class ImportRecord:
    """One record of a source. file: relative to the source. line: of that file, or row of that table, counted from 1.

    images: what goes into the image store. sample: what goes into a training shard.
    """

    file: str
    line: int
    images: tuple[SourceImage, ...] = ()
    sample: SourceSample | None = None


@dataclass(frozen=True)
class Rejected:
    """A record of which nothing can be made; `problem` says why, for people."""

    file: str
    line: int
    problem: str
    reason: Reason = Reason.BAD_RECORD


@dataclass(frozen=True)
class Remark:
    """A line for people about how the source is read, such as which column holds the captions."""

    text: str


@dataclass(frozen=True)
class Importer(ABC):
    """Reads one format. A subclass is a frozen dataclass of options (x2i.options); its docstring is the command's help.

    name: what stages are called after. title: one line for lists. makes: the kinds of output, the usual one first.
    license_note: what is to know about the license of the data, if it is one dataset.
    root_option: the option that names the folder of images, where there is one.
    version: raised when the same files and options would give other records.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    makes: ClassVar[tuple[Makes, ...]] = ("images",)
    license_note: ClassVar[str] = ""
    root_option: ClassVar[str] = ""
    version: ClassVar[int] = 1

    @abstractmethod
    def records(self, path: Path) -> Iterator[ImportRecord | Rejected | Remark]:
        """Yields what the source at `path` holds, always in the same order, in bounded memory.

        Images are only located: their bytes are read later, by the worker of their partition. Raises UserError if the
        source is not of this format.
        """

    @classmethod
    @abstractmethod
    def example(cls, folder: Path) -> Path:
        """Writes a tiny source of this format into `folder` and returns its path: what the conformance tests import.

        Its images are those of `x2i.importers.example`, and the words beside picture 3 contain "picture 3".
        """

    def root(self, path: Path) -> Path:
        """Returns the folder that the paths of locations are relative to."""
        return path if path.is_dir() else path.parent

    def digest(self, path: Path) -> str:
        """Returns a text that changes with what planning reads of the source."""
        return files_digest(path)

    def config(self) -> dict[str, Any]:
        """Returns what decides the records beside the source, as JSON values."""
        return {"importer": self.name, "importer_version": self.version, **as_config(self)}
