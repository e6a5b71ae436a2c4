"""The progress bar of a stage: rows done, rate, time left, and how many rows each reason has cost so far."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from x2i.store.commits import Counts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def describe_counts(counts: Counts) -> str:
    """Returns one line such as "41 ok, filtered 3 (opt_out 2, too_small 1), failed 1 (timeout 1)"."""
    parts = [f"{counts.ok:,} ok"]
    for label, reasons in (("filtered", counts.filtered), ("failed", counts.failed)):
        if reasons:
            detail = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
            parts.append(f"{label} {sum(reasons.values()):,} ({detail})")
    return ", ".join(parts)


class StageProgress:
    """A live bar on a terminal; silent where there is none, since the summary line says it all there."""

    def __init__(self, console: Console | None, title: str, total_rows: int) -> None:
        self._console = console
        self._title = title
        self._total = total_rows
        self._counts = Counts()
        self._failed_partitions = 0

    def __enter__(self) -> StageProgress:
        self._bar: Progress | None = None
        if self._console is not None and self._console.is_terminal and self._total:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("[bold]{task.description}"),
                progress.BarColumn(bar_width=24),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                progress.TextColumn("[dim]{task.fields[detail]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._title, total=self._total, rate="", detail="")
            self._bar.start()
        return self

    def advance(self, rows: int, counts: Counts, error: str | None) -> None:
        """Counts one finished partition of `rows` planned rows."""
        self._counts += counts
        self._failed_partitions += error is not None
        if self._bar is None:
            return
        detail = describe_counts(self._counts)
        if self._failed_partitions:
            detail += f", {self._failed_partitions} partitions failed"
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, advance=rows, rate=f"{speed:.1f} rows/s" if speed else "", detail=detail)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
