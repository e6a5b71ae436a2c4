"""The base class of a kind of source: how it is recognized, how its rows are read, how their images are read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.locations import LocatedBytes, Location
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.row import SourceRow
from x2i.reasons import DroppedError, Reason

if TYPE_CHECKING:
    import pyarrow as pa

Rows: TypeAlias = "SourceRow | pa.Table"
"""What a source yields: one row, or many as a table of SOURCE_SCHEMA (see x2i.crawl.sources.batch)."""


@dataclass(frozen=True)
class NoOptions:
    """For kinds without options."""


class SourceKind(ABC):
    """One source. A subclass is a kind of source.

    title: the kind in one phrase. looks_like: how its sources are recognized. options_class: a frozen dataclass with
    defaults (see x2i.options). uses_network: whether its images are fetched from other people's hosts. rereadable:
    whether its contents may change without notice, so that they are read again only on request. text_source: whose the
    words are that its rows carry, where a row does not say: `x2i.words.WEB_TEXT` for those of web pages.

    source: the text that names it. policy: for what is fetched while its rows are read.
    """

    title: ClassVar[str]
    looks_like: ClassVar[str]
    options_class: ClassVar[type] = NoOptions
    uses_network: bool = False
    rereadable: ClassVar[bool] = False
    text_source: ClassVar[str] = "source"

    def __init__(self, source: str, options: Any = None, policy: FetchPolicy | None = None) -> None:
        self.source = source
        self.options = options or self.options_class()
        self.policy = policy or FetchPolicy()

    @classmethod
    @abstractmethod
    def accepts(cls, source: str) -> bool:
        """Returns whether a source text is of this kind."""

    @abstractmethod
    def rows(self, notes: PlanningNotes) -> Iterator[Rows]:
        """Yields what the source names, in its order; adds what it could not read to `notes`. Raises UserError."""

    @abstractmethod
    def digest(self) -> str:
        """Returns a text that changes with what the source holds."""

    @classmethod
    def read_location(cls, location: Location, max_bytes: int, agent: str) -> LocatedBytes:
        """Returns the image at a location whose kind names this class. Raises DroppedError or OSError."""
        raise DroppedError(Reason.FILE_ERROR, f"{location.kind}: a {cls.title} holds no images itself")
