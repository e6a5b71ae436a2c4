"""What planning met beside the rows: pages that gave no images, repeated URLs, files and lines that were skipped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from x2i.counting import counted
from x2i.reasons import Dropped


@dataclass
class PlanningNotes:
    """What planning met beside the rows: pages that gave nothing, rows that named a URL again, lines of no use.

    rows: what the sources named in all. repeated: rows whose URL was named before by these sources. known: rows that
    the dataset has from earlier crawls; changed: files that it has with other contents;
    corrected: images that it has and whose source has other words for them now. bad_lines: (file, where, why).

    unread: files beside images, such as captions, and folders that could not be read. remarks: lines for people, with
    how often each holds.
    """

    pages: int = 0
    failures: list[tuple[str, Dropped]] = field(default_factory=list)
    rows: int = 0
    repeated: int = 0
    known: int = 0
    changed: int = 0
    corrected: int = 0
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
            parts.append(counted(len(self.unread), f"paths cannot be read: {name} ({verdict.detail}), ..."))
        parts += [counted(count, remark) for remark, count in self.remarks.items() if count]
        if self.bad_lines:
            file, where, why = self.bad_lines[0]
            parts.append(counted(len(self.bad_lines), f"lines were skipped: {where} of {file} {why}, ..."))
        if self.repeated:
            parts.append(counted(self.repeated, "URLs were named more than once"))
        if self.known:
            new = self.rows - self.known - self.repeated
            parts.append(f"{new:,} of {self.rows - self.repeated:,} images are new; the dataset has the others")
        if self.changed:
            parts.append(counted(self.changed, "files with other contents than before are stored beside the old"))
        if self.corrected:
            parts.append(
                counted(self.corrected, "images have other words now: these replace the old, nothing is fetched")
            )
        return "; ".join(part for part in parts)
