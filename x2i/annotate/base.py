"""What an annotation is: options, the table it fills, what it reads, and the object that does the work in a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.models.backend import Backend
from x2i.models.registry import Ability, backend, resolved
from x2i.options import Option, as_config, option_fields
from x2i.reasons import Dropped
from x2i.resources import Resources
from x2i.settings import apply_overrides
from x2i.tables import TableSpec


@dataclass(frozen=True)
class StoredImage:
    """One stored image as an annotation gets it.

    row: the fields of the image index that the annotation reads. columns: rows about the image in the columns it reads,
    by the column's name. pixels: uint8 RGB (height, width, 3); empty unless the annotation reads pixels.
    """

    key: str
    row: Mapping[str, Any]
    columns: Mapping[str, Sequence[Mapping[str, Any]]]
    pixels: NDArray[np.uint8]

    def one(self, column: str, field: str) -> Any:
        """Returns a field of the image's row in a column of one row per image; None if there is no row."""
        rows = self.columns[column]
        return rows[0][field] if rows else None


@dataclass(frozen=True)
class Found:
    """What is said about one image. rows: its rows of the table, without `key`. dropped: why it counts as lost."""

    rows: tuple[Mapping[str, Any], ...]
    dropped: Dropped | None = None


Verdict = Found | Mapping[str, Any] | Dropped
"""A mapping is the image's one row. `Dropped` leaves a row of nulls in a table of one row per image, else none."""


class Annotator(Protocol):
    """Does an annotation's work in one process; it holds the loaded models."""

    def annotate(self, images: Sequence[StoredImage]) -> Sequence[Verdict]:
        """Returns one verdict per image, which depends on that image alone."""
        ...


@dataclass(frozen=True)
class Annotation(ABC):
    """Facts about images that become a column. A subclass is a frozen dataclass of options (x2i.options).

    name, title, made_by, fields, rows, kept, encodings: of its table (see x2i.tables.TableSpec).
    version: raised when the same options would give other facts.
    by_default: whether its command makes it without being asked for it by name.
    pixels: whether it looks at the image. image_fields: the fields of the image index that it reads.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    made_by: ClassVar[str] = "annotate"
    version: ClassVar[int] = 1
    by_default: ClassVar[bool] = False
    fields: ClassVar[tuple[pa.Field, ...]]
    rows: ClassVar[Any] = "one"
    kept: ClassVar[str] = "TRUE"
    encodings: ClassVar[Mapping[str, str]] = {}
    image_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def command(cls) -> str:
        """Returns the command that makes it, without `x2i` and the dataset."""
        if cls.made_by == "annotate":
            return f"annotate {cls.name}"
        return f"{cls.made_by} --score {cls.name}" if cls.made_by == "filter" and not cls.by_default else cls.made_by

    @property
    def pixels(self) -> bool:
        return True

    @property
    def columns(self) -> tuple[str, ...]:
        """The other columns it reads."""
        return ()

    @property
    def resources(self) -> Resources:
        return Resources()

    @property
    def batch_size(self) -> int:
        return 16

    @property
    def batches_at_once(self) -> int:
        """How many batches are annotated at the same time, in threads of one worker."""
        return 1

    @property
    def sorts_by_size(self) -> bool:
        """Whether images of like shape come into one batch, which saves padding; verdicts do not depend on it."""
        return False

    def spec(self) -> TableSpec:
        """Returns the declaration of its table."""
        schema = pa.schema([pa.field("key", pa.string()), *self.fields])
        return TableSpec(
            self.name, self.title, self.made_by, schema, rows=self.rows, kept=self.kept, encodings=self.encodings
        )

    def spec_of(self, annotator: Any) -> TableSpec:
        """Returns the declaration of the table that a loaded annotator fills: `spec`, with sizes that only it knows."""
        return self.spec()

    def config(self) -> dict[str, Any]:
        """Returns everything beside the images and `version` that decides the facts, as JSON values."""
        return {"annotation": self.name, **as_config(self)}

    def fetch(self) -> None:  # noqa: B027  most have nothing to fetch
        """Brings what it loads to this machine."""

    @abstractmethod
    def load(self) -> Annotator:
        """Returns the annotator, models in memory. Called once in each worker."""


class PixelAnnotation(Annotation):
    """An annotation that needs nothing loaded: it is its own annotator, one image at a time."""

    def load(self) -> Annotator:
        return self

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        return [self.facts(image) for image in images]

    @abstractmethod
    def facts(self, image: StoredImage) -> Verdict:
        """Returns what there is to say about one image."""


def settings(texts: list[str]) -> dict[str, Any]:
    """Returns the mapping that `--set key=value` texts describe, values read as YAML."""
    return apply_overrides({}, texts)


@dataclass(frozen=True)
class ModelAnnotation(Annotation):
    """An annotation made with backends. Its table says with which, in which revision.

    uses: option that names a backend -> the ability asked of it. The first one's options are set by `--set key=value`,
    those of another by `--set option.key=value`.
    """

    uses: ClassVar[Mapping[str, Ability]]

    set: Annotated[
        Mapping[str, Any],
        Option(
            "An option of the backend, as key=value; of one that another option names, OPTION.key=value. Repeatable.",
            metavar="KEY=VALUE",
            parse=settings,
        ),
    ] = field(default_factory=dict)

    def backends(self) -> dict[str, Backend]:
        """Returns the backends, not loaded, by the option that names them. Raises UserError for faulty names."""
        first, *others = self.uses
        options = {name: self.set.get(name, {}) for name in others}
        options[first] = {key: value for key, value in self.set.items() if key not in others}
        named = {name: getattr(self, name) for name in self.uses}
        return {
            name: backend(self.uses[name], text, options[name]) for name, text in named.items() if text or name == first
        }

    @property
    def resources(self) -> Resources:
        needs = [found.resources for found in self.backends().values()]
        return Resources(*(max(getattr(need, name) for need in needs) for name in ("cpus", "gpus", "gpu_memory_gb")))

    @property
    def batch_size(self) -> int:
        return min(found.batch_size for found in self.backends().values())

    @property
    def batches_at_once(self) -> int:
        return min(found.batches_at_once for found in self.backends().values())

    @property
    def sorts_by_size(self) -> bool:
        return self.pixels and self.batches_at_once == 1

    def spec(self) -> TableSpec:
        schema = pa.schema([pa.field("key", pa.string()), *self.fields, *self._stamp_fields()])
        return TableSpec(
            self.name, self.title, self.made_by, schema, rows=self.rows, kept=self.kept, encodings=self.encodings
        )

    def config(self) -> dict[str, Any]:
        backends = self.backends()
        revisions = {f"{name}_revision": resolved(found) for name, found in backends.items()}
        return {**super().config(), "set": self._deciding(backends), **revisions}

    def _deciding(self, backends: Mapping[str, Backend]) -> dict[str, Any]:
        """Returns `set` without the options that change no result, such as the batch size or a number of retries."""
        first = next(iter(self.uses))
        kept: dict[str, Any] = {}
        for name, found in backends.items():
            said = self.set if name == first else self.set.get(name, {})
            decides = {option.name for option in option_fields(type(found)) if option.option.decides}
            options = {key: value for key, value in said.items() if key in decides}
            kept |= options if name == first else {name: options} if options else {}
        return kept

    def fetch(self) -> None:
        for found in self.backends().values():
            found.fetch()

    def stamp(self) -> dict[str, str]:
        """Returns the fields that say with which backends, in which revisions, a row was made."""
        found = self.backends()
        named = {name: getattr(self, name) for name in found}
        return named | {_revision_field(name, self.uses): resolved(found[name]) for name in found}

    def _stamp_fields(self) -> list[pa.Field]:
        names = [*self.uses, *(_revision_field(name, self.uses) for name in self.uses)]
        return [pa.field(name, pa.string()) for name in names]


def _revision_field(name: str, uses: Mapping[str, Ability]) -> str:
    """`revision` for the first backend, `segmenter_revision` for a second one named by the option `segmenter`."""
    return "revision" if name == next(iter(uses)) else f"{name}_revision"
