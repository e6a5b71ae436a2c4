"""`x2i crawl`: plans rows from the sources, and fetches, checks and stores them partition by partition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.engine.options import OutOption, RunOptions
from pipelines.stages.crawl.incremental import crawl_runs
from pipelines.stages.crawl.stage import CrawlOptions, CrawlStage
from x2i.command_options import with_options
from x2i.counting import counted
from x2i.store import paths

if TYPE_CHECKING:
    from x2i.store import Dataset

_LARGE_FILE = 64 * 1024
"""Bytes of a table or archive whose crawl probably has work for several processes."""


def retract_transient_failures(dataset: Dataset, stage: CrawlStage) -> int:
    """Deletes the commit of each partition that holds transient failures and was made with the same options.

    Looks at all crawls into the dataset. Files stay: the worker reads from them what is final. Returns how many
    partitions that were.
    """
    from pipelines.stages.crawl.incremental import crawl_stages
    from x2i.crawl.resume import has_transient_failures
    from x2i.store.commits import list_commits

    count = 0
    for name in crawl_stages(dataset.root):
        for commit in list_commits(dataset.root, name):
            if has_transient_failures(commit) and dict(commit.config) == stage.partition_config():
                paths.commit_file(dataset.root, name, commit.partition).unlink()
                count += 1
    return count


def _ask_for_contact(stage: CrawlStage) -> None:
    """Warns if a crawl of other people's hosts leaves them no way to reach its operator."""
    if stage.fetch.is_anonymous and any(source.uses_network for source in stage.open_sources()):
        typer.secho(
            "crawl: site owners cannot reach you. Add --contact with a URL or an e-mail address.", err=True, fg="yellow"
        )


def _correct_words(dataset: Dataset, current: str) -> None:
    """Replaces words that a source has corrected, and says how many and what to do."""
    from pipelines.stages.crawl.corrections import apply_corrections
    from pipelines.stages.crawl.incremental import crawl_stages

    if count := apply_corrections(dataset, crawl_stages(dataset.root), current):
        remedy = "what was made of the old words is stale: run what `x2i report` names again, with --overwrite"
        typer.secho(f"crawl: {counted(count, 'images have other words now')}; {remedy}", err=True, fg="yellow")


def _is_large_file(source: str) -> bool:
    try:
        path = Path(source)
        return path.is_file() and path.stat().st_size > _LARGE_FILE
    except (OSError, ValueError):  # no name of a file
        return False


@with_options
def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Tables of URLs (.csv .tsv .parquet .json .jsonl .txt, also .gz; one, a folder of them, or a pattern "
            "such as 'lists/*.parquet', here or s3://...), URLs of HTML pages, saved .html pages, folders of images, "
            "WebDataset shards (.tar), web archives (.warc .wat, also .gz) or videos; any number, mixed. "
            "A kind of your own: mypackage.module:Class=ARGUMENT.",
        ),
    ],
    run: RunOptions,
    out: OutOption,
    options: CrawlOptions,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read web pages again, and fetch what is new on them.")
    ] = False,
) -> None:
    """Fetch images from URL tables, HTML pages or folders into a dataset.

    Every attempted image gets a row with its outcome. robots.txt, opt-out headers, and limits on bytes,
    time, pixels and addresses apply by default. Run the same command again to go on after an interruption,
    or with sources that have grown: what the dataset has is not fetched again.

    x2i crawl urls.csv https://example.org/gallery.html ~/photos --out my-dataset --max-side 1024
    """
    from pipelines.engine.executors.select import start_workers_early
    from pipelines.engine.run import dataset_for_ingest, run_stages

    stage = CrawlStage(**vars(options), sources=tuple(sources))
    if any(map(_is_large_file, sources)):
        start_workers_early(run, [stage])
    _ask_for_contact(stage)
    dataset = dataset_for_ingest(out, run)
    stages = crawl_runs(dataset, stage, overwrite=run.overwrite, reread=reread)
    if stage.fetch.retry_failed and not run.dry_run:
        retract_transient_failures(dataset, stage)
    try:
        run_stages(stages, dataset, run)
    finally:
        if not run.dry_run:
            _correct_words(dataset, stages[-1].name)
