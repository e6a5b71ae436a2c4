"""`x2i verify`: checks every file of a dataset or a shard against its record."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.engine.options import StorePath, dataset_path
from x2i.counting import counted
from x2i.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from x2i.store.verify.verify import VerifyReport


def command(
    path: Annotated[
        StorePath,
        typer.Argument(
            parser=dataset_path,
            metavar="PATH",
            help="A dataset (a folder or s3://...), a folder of foreign shards, or one .tar file.",
        ),
    ],
    fast: Annotated[bool, typer.Option("--fast", help="Sizes and sums only; read no table, decode nothing.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image too; compare its size and phash.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be made again; images and your own files stay as they are.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --repair: say what would be done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a machine-readable report on stdout.")] = False,
) -> None:
    """Check every file of a dataset or a shard against its record.

    Hashes every committed file, reads every tar, index and table, counts every sample, and names what is damaged,
    missing, doubled, left over or taken down and still there, with what to do about it. Nothing is changed without
    --repair, which rebuilds indexes from their shards, deletes what killed runs left, and withdraws damaged columns,
    relations and shards, so that their commands make them again. Exits with 0 if all is well, 1 if something was found
    (and not repaired), 2 if there was nothing to check.

        x2i verify data --fast

        x2i verify data --repair --dry-run

        x2i verify data/shards/deblur-1in-00000.tar --deep
    """
    from pipelines.console import open_console
    from x2i.store.verify.verify import Level, verify

    if fast and deep:
        raise typer.BadParameter("--fast and --deep exclude each other")
    if dry_run and not repair:
        raise typer.BadParameter("--dry-run is for --repair: without it nothing is changed")
    level = Level.FAST if fast else Level.DEEP if deep else Level.NORMAL
    console = open_console(stderr=json)
    with _progress(console) as on_file:
        report = verify(path, level, on_file=on_file)
    if json:
        typer.echo(json_module.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        _show(console, report)
    if not report.ok and repair:
        report = _repaired(console, report, dry_run)
    if not report.ok:
        raise typer.Exit(1)


def _repaired(console: Console, report: VerifyReport, dry_run: bool) -> VerifyReport:
    """Repairs a dataset, or says what would be done; returns what is then found."""
    from x2i.store import paths
    from x2i.store.files.locks import WHOLE, exclusive_lock
    from x2i.store.verify import repair as repairing
    from x2i.store.verify.verify import verify

    if not (report.root / paths.DATASET_FILE).exists():
        raise UserError(f"{report.root}: --repair is for datasets: other shards have no record of how they were made")
    repairs = repairing.plan_repairs(report)
    console.print("would be done:" if dry_run else "repair:")
    for line in repairing.describe(repairs):
        console.print(f"    {escape(line)}", soft_wrap=True)
    if dry_run:
        return report
    with exclusive_lock(report.root, WHOLE, "an x2i command is running on this dataset: wait for it"):
        repairing.repair(report.root, repairs)
    with _progress(console) as on_file:
        after = verify(report.root, report.level, on_file=on_file)
    _show(console, after)
    return after


def verify_dataset(root: Path, console: Console) -> None:
    """Verifies a dataset as a step of a longer command. Raises UserError, after naming it all, on any finding."""
    from x2i.store.verify.verify import Level, verify

    with _progress(console) as on_file:
        report = verify(root, Level.DEEP, on_file=on_file)
    _show(console, report)
    if not report.ok:
        raise UserError(f"{root}: {_count(report)}, named above")


class _progress:  # noqa: N801 (used as a verb)
    """A bar over the files on a terminal, nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("[bold]verify"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.description}"),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> _progress:
        self._bar.start()
        return self

    def __call__(self, file: str, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total, description=file)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _show(console: Console, report: VerifyReport) -> None:
    from x2i.inspect.formatting import describe_bytes
    from x2i.store.verify.verify import Level

    for finding in report.findings:
        console.print(f"[red bold]{escape(finding.file)}[/]: {escape(finding.problem)}", soft_wrap=True)
        console.print(f"    [dim]{escape(finding.fix)}[/]", soft_wrap=True)
    for stage in report.outdated:
        console.print(f"[yellow]made from inputs that have changed since:[/] {escape(str(stage))}", soft_wrap=True)
    for note in report.unchecked:
        console.print(f"[yellow]not checked:[/] {escape(note)}", soft_wrap=True)
    looked = {
        Level.FAST: "sizes and sums compared (--fast)",
        Level.NORMAL: f"{counted(report.samples, 'samples')}, no image decoded (--deep does)",
        Level.DEEP: f"{counted(report.samples, 'samples')}, {counted(report.images_decoded, 'images decoded')}",
    }[report.level]
    seen = f"{counted(report.files, 'files')}, {describe_bytes(report.bytes)}, {looked}"
    verdict = "[green bold]all good[/]" if report.ok else f"[red bold]{_count(report)}[/]"
    console.print(f"{verdict}: {seen}", soft_wrap=True)


def _count(report: VerifyReport) -> str:
    return counted(len(report.findings), "findings")
