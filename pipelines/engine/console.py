"""What a run shows on the terminal: a progress bar while it works, a summary of each stage at its end."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from x2i.counting import counted
from x2i.reasons import Reason
from x2i.store.commits import Counts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


@dataclass
class StageSummary:
    """What a run of one stage came to. `counts` covers every committed partition of the plan, old and new.

    skipped: rows that planning met and did not plan, by reason; of a crawl: repeated, known, changed, sightings,
    bad_lines. failed: partition -> error. seconds: of the run. worker_seconds: of all its partitions added up, and
    busy_seconds those of them in which a model was at work; 0 where nobody measured it. read_tokens, written_tokens: of
    a language model, in this run. refused: of a dry run, earlier partitions that were made from something else, so that
    the run would stop before any work.
    """

    stage: str
    planned_partitions: int
    planned_rows: int
    done_before: int
    ran: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    skipped: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    worker_seconds: float = 0.0
    busy_seconds: float = 0.0
    read_tokens: int = 0
    written_tokens: int = 0
    refused: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def print_summary(console: Console, root: Path, summary: StageSummary) -> None:
    """Prints what was run, what came of the rows, and the first errors."""
    from rich.markup import escape

    old = f", {summary.done_before:,} done before" if summary.done_before else ""
    busy = f". Model busy {summary.busy_seconds / summary.worker_seconds:.0%}" if summary.busy_seconds else ""
    counts, written = describe_counts(summary.counts), summary.written_tokens
    rate = f"{written / summary.seconds:,.1f}/s" if summary.seconds else "0/s"
    tokens = f". {summary.read_tokens:,} tokens read, {written:,} written, {rate}" if written else ""
    console.print(
        f"[bold]{summary.stage}[/]: {counted(summary.ran, 'partitions run')}{old}. {counts}{busy}{tokens}",
        soft_wrap=True,
    )
    _print_skipped(console, summary)
    if Reason.BACKEND_ERROR in summary.counts.failed:
        log = escape(str(root / "logs" / f"{summary.stage}.jsonl"))
        console.print(f"[red]  errors are in {log}[/]; --overwrite runs those partitions again", soft_wrap=True)
    for partition, error in sorted(summary.failed.items())[:5]:
        console.print(f"[red]  partition {partition} failed:[/] {escape(error)}", markup=True, soft_wrap=True)
    if summary.failed:
        console.print(
            f"[red]  {len(summary.failed)} of {summary.planned_partitions} partitions failed[/]: see "
            f"{escape(str(root / 'failures' / summary.stage))}; the same command tries them again.",
            soft_wrap=True,
        )


def print_preview(console: Console, summary: StageSummary, todo: int, stale: int) -> None:
    """Prints what a run would do: `todo` partitions, and whether it stops at `stale` ones, made from something else."""
    console.print(
        f"[bold]{summary.stage}[/]: {counted(summary.planned_rows, 'rows')} in "
        f"{counted(summary.planned_partitions, 'partitions')}; "
        f"{summary.done_before:,} done, {todo:,} to do. Nothing was run.",
        soft_wrap=True,
    )
    _print_skipped(console, summary)
    if summary.refused:
        console.print(
            f"[red]  {counted(stale, 'earlier partitions were made from something else')}: the run would stop here[/], "
            "and say what changed; with --overwrite it makes them anew",
            soft_wrap=True,
        )
    elif stale:
        console.print(f"  {counted(stale, 'earlier partitions were made from something else')} and would be made anew")


def describe_counts(counts: Counts) -> str:
    """Returns one line such as "41 ok, filtered 3 (opt_out 2, too_small 1), failed 1 (timeout 1)"."""
    parts = [f"{counts.ok:,} ok"]
    for label, reasons in (("filtered", counts.filtered), ("failed", counts.failed)):
        if reasons:
            detail = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
            parts.append(f"{label} {sum(reasons.values()):,} ({detail})")
    return ", ".join(parts)


def _print_skipped(console: Console, summary: StageSummary) -> None:
    labels = {"known": "already in the dataset"}
    considered = summary.skipped.get("candidates")
    skipped = {name: count for name, count in summary.skipped.items() if name != "candidates"}
    if skipped:
        parts = (f"{count:,} {labels.get(name, name.replace('_', ' '))}" for name, count in skipped.items())
        of = f" of {considered:,} candidates" if considered is not None else ""
        console.print(f"  not planned{of}: {', '.join(parts)}", soft_wrap=True)


def planning(console: Console | None, stage: str) -> AbstractContextManager[object]:
    """Returns a context that says on a terminal that a stage is being planned; silent elsewhere."""
    return nullcontext() if console is None else console.status(f"planning {stage}")


class StageProgress:
    """A live bar on a terminal; silent elsewhere, where the summary says it all."""

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
            detail += f", {counted(self._failed_partitions, 'partitions failed')}"
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, advance=rows, rate=f"{speed:.1f} rows/s" if speed else "", detail=detail)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
