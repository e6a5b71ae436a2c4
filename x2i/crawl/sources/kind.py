"""What a kind of source is: how its rows are read, and how a change in it is noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.tables.columns import TableColumns
from x2i.reasons import Dropped

if TYPE_CHECKING:
    import pyarrow as pa

Rows: TypeAlias = "SourceRow | pa.Table"
"""What a source gives: one row, or many as a table of SOURCE_SCHEMA (see x2i.crawl.sources.batch)."""


@dataclass(frozen=True)
class SourceOptions:
    """What the user said about reading sources; each kind takes what concerns it.

    columns, skip_bad_lines (how many lines of a source may be passed over): of tables. policy: for what has to be
    fetched while planning. depth, max_pages: of web pages.
    sitemaps: whether the sitemaps that a page's robots.txt names are read too.
    warc_links: whether the pages in a web archive name images to fetch, beside those it holds.
    frame_interval (seconds), scene_threshold (0 to about 150), max_frames: of videos, see there.
    """

    columns: TableColumns = field(default_factory=TableColumns)
    policy: FetchPolicy = field(default_factory=FetchPolicy)
    skip_bad_lines: int = 0
    depth: int = 0
    max_pages: int = 100
    warc_links: bool = False
    frame_interval: float = 2.0
    scene_threshold: float = 20.0
    max_frames: int = 1000
    sitemaps: bool = False


@dataclass
class PlanningNotes:
    """What planning met beside the rows: pages that gave nothing, rows that named a URL again, lines of no use.

    rows: what the sources named in all. repeated: rows whose URL was named before by these sources. known: rows that
    the dataset has from earlier crawls; changed: files that it has with other contents. bad_lines: (file, where, why).

    unread: files beside images, such as captions, and folders that could not be read. remarks: lines for people, with
    how often each holds.
    """

    pages: int = 0
    failures: list[tuple[str, Dropped]] = field(default_factory=list)
    rows: int = 0
    repeated: int = 0
    known: int = 0
    changed: int = 0
    bad_lines: list[tuple[str, str, str]] = field(default_factory=list)
    unread: list[tuple[str, Dropped]] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """Returns one line for people, "" if there is nothing to tell."""
        counts: dict[str, int] = {}
        for _, verdict in self.failures:
            counts[str(verdict.reason)] = counts.get(str(verdict.reason), 0) + 1
        parts = []
        if counts:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
            parts.append(f"{len(self.failures)} of {self.pages} pages, records and files gave no images: {reasons}")
        if self.unread:
            name, verdict = self.unread[0]
            parts.append(f"{len(self.unread)} caption files or folders cannot be read: {name} ({verdict.detail}), ...")
        parts += [f"{count} {remark}" for remark, count in self.remarks.items()]
        if self.bad_lines:
            file, where, why = self.bad_lines[0]
            parts.append(f"{len(self.bad_lines):,} lines were passed over: {where} of {file} {why}, ...")
        if self.repeated:
            parts.append(f"{self.repeated:,} URLs were named more than once and are planned once")
        if self.known:
            new = self.rows - self.known - self.repeated
            parts.append(f"{new:,} of {self.rows - self.repeated:,} images are new; the dataset has the others")
        if self.changed:
            parts.append(f"{self.changed:,} files changed since they were stored: they are stored beside the old")
        return "; ".join(parts)


@dataclass(frozen=True)
class SourceKind:
    """One kind of source.

    name: for people. claims: whether a source text is of this kind; the first kind that claims it has it.
    rows: yields what the source names, in its order; adds to the notes what it could not read; raises UserError.
    digest: changes with what the source holds.
    """

    name: str
    claims: Callable[[str], bool]
    rows: Callable[[str, SourceOptions, PlanningNotes], Iterator[SourceRow] | Iterator[pa.Table]]
    digest: Callable[[str], str]
