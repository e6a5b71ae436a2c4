"""`x2i crawl`: plans rows from the sources, and fetches, checks and stores them partition by partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.engine.options import OutOption, RunOptions
from pipelines.stages.crawl.incremental import crawl_runs
from pipelines.stages.crawl.stage import CrawlStage
from x2i.command_options import with_options
from x2i.crawl.http.policy import DEFAULT_USER_AGENT, FetchPolicy
from x2i.crawl.process import StoredFormat
from x2i.image import ResizeMode
from x2i.image.decode import DEFAULT_MAX_PIXELS
from x2i.store import paths

if TYPE_CHECKING:
    from x2i.store import Dataset

_NETWORK_KINDS = frozenset({"web page", "table", "WAT file"})


def retract_transient_failures(dataset: Dataset, stage: CrawlStage) -> int:
    """Takes back the commit of each partition that holds passing failures and was made with the same options.

    Looks at all crawls into the dataset. Files stay: the worker reads from them what is final. Returns how many
    partitions that were.
    """
    from x2i.crawl.resume import has_transient_failures
    from x2i.store.commits import list_commits
    from x2i.store.dataset import ingest_stages

    count = 0
    for name in ingest_stages(dataset.root):
        for commit in list_commits(dataset.root, name):
            if has_transient_failures(commit) and dict(commit.config) == stage.partition_config():
                paths.commit_file(dataset.root, name, commit.partition).unlink()
                count += 1
    return count


def _ask_for_contact(stage: CrawlStage) -> None:
    """Says so if a crawl of other people's hosts leaves them no way to reach its operator."""
    from x2i.crawl.sources import kind_of

    is_anonymous = stage.user_agent == DEFAULT_USER_AGENT and not stage.contact
    asks = stage.warc_links or any(kind_of(source).name in _NETWORK_KINDS for source in stage.sources)
    if is_anonymous and asks:
        typer.secho(
            "crawl: site owners cannot reach you. Add --contact with a URL or an e-mail address.", err=True, fg="yellow"
        )


@with_options
def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Tables of URLs (.csv .tsv .parquet .json .jsonl .txt, also .gz; one, a folder of them, or a pattern "
            "such as 'lists/*.parquet', here or s3://...), URLs of HTML pages, saved .html pages, folders of images, "
            "WebDataset shards (.tar), web archives (.warc .wat, also .gz) or videos; any number, mixed.",
        ),
    ],
    run: RunOptions,
    out: OutOption,
    url_col: Annotated[str | None, typer.Option(help="Table column with URLs. Default: url, image_url, ...")] = None,
    text_col: Annotated[
        str | None, typer.Option(help="Table column with captions. Default: text, caption, ...")
    ] = None,
    keep_col: Annotated[
        list[str] | None, typer.Option(help="A further table column to keep in `extra`; may be repeated.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="Follow links of a page this deep, on its own host only.")] = 0,
    sitemaps: Annotated[
        bool, typer.Option("--sitemaps", help="Read also the pages that the sitemaps in a page's robots.txt name.")
    ] = False,
    max_pages: Annotated[int, typer.Option(min=1, help="Pages read for each page source, at most.")] = 100,
    warc_links: Annotated[
        bool, typer.Option("--warc-links", help="Fetch also what the pages in a web archive show but it does not hold.")
    ] = False,
    frame_interval: Annotated[float, typer.Option(help="Seconds between frames taken from one clip of a video.")] = 2.0,
    scene_threshold: Annotated[
        float, typer.Option(min=0, help="How different (0 to about 150) two frames at a cut are; 0: look for no cuts.")
    ] = 20.0,
    max_frames: Annotated[int, typer.Option(min=1, help="Frames taken from each video, at most.")] = 1000,
    max_side: Annotated[int, typer.Option(min=1, help="Pixels; what it limits is said by --resize-mode.")] = 1024,
    min_side: Annotated[int, typer.Option(min=0, help="Drop images whose shorter side has fewer pixels.")] = 0,
    resize_mode: Annotated[
        ResizeMode, typer.Option(help="Which side becomes --max-side. Smaller images stay, unless --enlarge.")
    ] = ResizeMode.LONGEST,
    format: Annotated[
        StoredFormat, typer.Option(help="How images are stored. keep: as they come where nothing has to change.")
    ] = StoredFormat.JPEG,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP.")] = 95,
    partition_size: Annotated[int, typer.Option(min=1, help="Attempted images per partition.")] = 1000,
    concurrency: Annotated[int, typer.Option(min=1, help="Downloads at once in each worker process.")] = 64,
    per_host: Annotated[
        int, typer.Option(min=1, help="Requests at once to one host, by all crawls of yours on a machine together.")
    ] = FetchPolicy.per_host,
    delay: Annotated[
        float,
        typer.Option(min=0, help="Seconds between requests to one host, by all crawls of yours on a machine together."),
    ] = 0.0,
    timeout: Annotated[float, typer.Option(help="Seconds for one attempt, from connecting to the last byte.")] = 30.0,
    max_bytes: Annotated[int, typer.Option(min=1, help="Largest download, in bytes.")] = FetchPolicy.max_bytes,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Largest image, in pixels; judged from its header.")
    ] = DEFAULT_MAX_PIXELS,
    enlarge: Annotated[
        bool, typer.Option("--enlarge", help="Bring smaller images up to --max-side too, instead of leaving them.")
    ] = False,
    keep_metadata: Annotated[
        bool,
        typer.Option("--keep-metadata", help="Store the EXIF of each image with it: place, time, camera and all."),
    ] = False,
    pdq: Annotated[bool, typer.Option("--pdq", help="Compute the PDQ hash of each image too. Needs x2i[pdq].")] = False,
    retries: Annotated[int, typer.Option(min=0, help="Further attempts after a passing failure (5xx, timeouts).")] = 2,
    allow_net: Annotated[
        list[str] | None,
        typer.Option(help="A non-public network to allow, such as 127.0.0.0/8; may be repeated."),
    ] = None,
    ignore_robots: Annotated[
        bool, typer.Option("--ignore-robots", help="Do not read robots.txt. All other opt-outs are heeded still.")
    ] = False,
    user_agent: Annotated[
        str, typer.Option(help="Who you are; its first word is the name that robots.txt may address.")
    ] = DEFAULT_USER_AGENT,
    contact: Annotated[
        str, typer.Option(help="How site owners reach you: the URL of a page about your crawl, or an e-mail address.")
    ] = "",
    skip_bad_lines: Annotated[
        int, typer.Option(min=0, help="Lines of a table that cannot be read: pass over up to N of them, each noted.")
    ] = 0,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read web pages again, and fetch what is new on them.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Fetch again what failed for a passing reason; keep all else.")
    ] = False,
) -> None:
    """Fetch images from URL tables, HTML pages or folders into a dataset.

    Every attempted image gets a row that says what became of it. robots.txt, opt-out headers, and limits on bytes,
    time, pixels and addresses are heeded by default. Run the same command again to go on after an interruption,
    or with sources that have grown: what the dataset has is not fetched again.

    Example: x2i crawl urls.csv https://example.org/gallery.html ~/photos --out my-dataset --max-side 1024
    """
    from pipelines.engine.run import dataset_for_ingest, run_stages

    stage = CrawlStage(
        sources=tuple(sources),
        url_col=url_col,
        text_col=text_col,
        keep_col=tuple(keep_col or ()),
        skip_bad_lines=skip_bad_lines,
        depth=depth,
        max_pages=max_pages,
        sitemaps=sitemaps,
        warc_links=warc_links,
        frame_interval=frame_interval,
        scene_threshold=scene_threshold,
        max_frames=max_frames,
        partition_size=partition_size,
        max_side=max_side,
        min_side=min_side,
        resize_mode=resize_mode,
        format=format,
        quality=quality,
        max_pixels=max_pixels,
        enlarge=enlarge,
        keep_metadata=keep_metadata,
        pdq=pdq,
        max_bytes=max_bytes,
        allow_net=tuple(allow_net or ()),
        ignore_robots=ignore_robots,
        user_agent=user_agent,
        contact=contact,
        concurrency=concurrency,
        per_host=per_host,
        delay=delay,
        timeout=timeout,
        retries=retries,
        retry_failed=retry_failed,
    )
    _ask_for_contact(stage)
    dataset = dataset_for_ingest(out, run)
    stages = crawl_runs(dataset, stage, overwrite=run.overwrite, reread=reread)
    if retry_failed and not run.dry_run:
        retract_transient_failures(dataset, stage)
    run_stages(stages, dataset, run)
