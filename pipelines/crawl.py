"""`x2i crawl`: plans rows from the sources, and fetches, checks and stores them partition by partition."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import typer

from pipelines.crawl_worker import CrawlWorker, append_log
from pipelines.options import RunOptions, stage_command
from pipelines.stage import PlannedPartition, Worker
from x2i.crawl.policy import DEFAULT_USER_AGENT, FetchPolicy
from x2i.crawl.process import StoragePolicy, StoredFormat
from x2i.errors import UserError
from x2i.image import ResizeMode
from x2i.image.decode import DEFAULT_MAX_PIXELS
from x2i.store import paths

if TYPE_CHECKING:
    from x2i.crawl.partition import PlanRow
    from x2i.crawl.planning import PlanningNotes
    from x2i.store import Dataset

_NAMES = ("key", "uid", "url", "text", "page_url", "context", "licence", "extra")
PLAN_SCHEMA = pa.schema([*((name, pa.string()) for name in _NAMES), ("local", pa.bool_())])


@dataclass(frozen=True)
class CrawlStage:
    """Sources to image partitions. The fields are the options of `x2i crawl`; see their help there.

    What decides which rows are planned, or the bytes of a stored image, is config; how fast and how patiently the
    network is asked (concurrency, per_host, delay, timeout, retries) is not, so it may change between runs.
    """

    sources: tuple[str, ...]
    url_col: str | None = None
    text_col: str | None = None
    keep_col: tuple[str, ...] = ()
    depth: int = 0
    max_pages: int = 100
    partition_size: int = 1000
    max_side: int = 1024
    min_side: int = 0
    resize_mode: ResizeMode = ResizeMode.LONGEST
    format: StoredFormat = StoredFormat.JPEG
    quality: int = 95
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_bytes: int = FetchPolicy.max_bytes
    allow_net: tuple[str, ...] = ()
    ignore_robots: bool = False
    user_agent: str = DEFAULT_USER_AGENT
    concurrency: int = FetchPolicy.concurrency
    per_host: int = FetchPolicy.per_host
    delay: float = FetchPolicy.delay
    timeout: float = FetchPolicy.timeout
    retries: int = FetchPolicy.retries
    retry_failed: bool = False

    name = "crawl"
    format_version = 1

    def config(self) -> dict[str, Any]:
        planning = ("sources", "url_col", "text_col", "keep_col", "depth", "max_pages", "partition_size")
        return {**{name: _json_value(getattr(self, name)) for name in planning}, **self._partition_config()}

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        from x2i.crawl.sources import source_digest

        return {f"source {source}": source_digest(source) for source in self.sources}

    def plan(self, dataset: Dataset) -> Iterator[PlannedPartition]:
        from x2i.crawl.planning import PlanningNotes, plan_rows
        from x2i.crawl.sources import TableColumns

        columns = TableColumns(self.url_col, self.text_col, tuple(self.keep_col))
        notes = PlanningNotes()
        rows = plan_rows(self.sources, columns, self.fetch_policy(), self.depth, self.max_pages, notes)
        number = 0
        while chunk := list(itertools.islice(rows, self.partition_size)):
            partition = paths.partition_name(number)
            keyed = [replace(row, key=f"{partition}-{index:05d}") for index, row in enumerate(chunk)]
            table = pa.Table.from_pylist([asdict(row) for row in keyed], schema=PLAN_SCHEMA)
            yield PlannedPartition(partition, table, self._partition_config(), local_inputs(keyed, self.max_bytes))
            number += 1
        _tell_notes(dataset, notes)
        if not number:
            raise UserError(f"no images are named in {', '.join(self.sources)}. {notes.summary()}".strip())

    def worker(self, root: Path) -> Worker:
        return CrawlWorker(root, self.fetch_policy(), self.storage_policy(), self.retry_failed)

    def fetch_policy(self) -> FetchPolicy:
        shared = {f.name: getattr(self, f.name) for f in fields(FetchPolicy) if hasattr(self, f.name)}
        return FetchPolicy(**shared, obey_robots=not self.ignore_robots)

    def storage_policy(self) -> StoragePolicy:
        return StoragePolicy(**{f.name: getattr(self, f.name) for f in fields(StoragePolicy)})

    def _partition_config(self) -> dict[str, Any]:
        names = [f.name for f in fields(StoragePolicy)]
        names += ["max_bytes", "allow_net", "ignore_robots", "user_agent"]
        return {name: _json_value(getattr(self, name)) for name in names}

    def __post_init__(self) -> None:
        """Raises UserError for options that make no sense, whatever is done already."""
        from x2i.crawl.guard import AddressPolicy
        from x2i.crawl.optout import product_token

        if not self.sources:
            raise UserError("crawl: name at least one source: a table of URLs, a page, or a folder of images")
        positive = ("partition_size", "max_side", "max_pixels", "max_bytes", "concurrency", "per_host", "max_pages")
        for name in positive:
            if getattr(self, name) < 1:
                raise UserError(f"crawl: {name}: expected at least 1, found {getattr(self, name)}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"crawl: quality: expected 1 to 100, found {self.quality}")
        if self.timeout <= 0 or self.delay < 0 or self.retries < 0 or self.depth < 0:
            raise UserError("crawl: timeout must be above 0; delay, retries and depth at least 0")
        if self.partition_size > 100_000:
            raise UserError(f"crawl: partition_size: expected at most 100000, found {self.partition_size}")
        if not self.user_agent.isprintable() or not self.user_agent.isascii() or not product_token(self.user_agent):
            raise UserError(
                f"crawl: user_agent: expected a name such as 'MyLab/1 (+https://...)', found {self.user_agent!r}"
            )
        AddressPolicy.parse(self.allow_net)


def local_inputs(rows: Sequence[PlanRow], max_bytes: int) -> dict[str, str]:
    """Returns the digest of what the local files of a partition hold, so that one that changes is noticed; {} if none.

    A file that is larger than the crawl reads counts by its size, one that cannot be read as such.
    """
    from x2i.crawl.partition import local_path
    from x2i.store.commits import digest, file_digest

    states: list[str | int] = []
    for path in (local_path(row.url) for row in rows if row.local):
        try:
            size = path.stat().st_size
            states.append(size if size > max_bytes else file_digest(path))
        except OSError:
            states.append("unreadable")
    return {"local files": digest(states)} if states else {}


def forget_passing_failures(dataset: Dataset, stage: CrawlStage) -> int:
    """Takes back the commit of each partition that holds passing failures and was made with the same options.

    Its files stay: the worker reads from them what is final. Returns how many partitions that were.
    """
    from x2i.crawl.resume import has_passing_failures
    from x2i.store.commits import list_commits

    count = 0
    for commit in list(list_commits(dataset.root, stage.name)):
        if has_passing_failures(commit) and dict(commit.config) == stage._partition_config():
            paths.commit_file(dataset.root, stage.name, commit.partition).unlink()
            count += 1
    return count


def _tell_notes(dataset: Dataset, notes: PlanningNotes) -> None:
    """Makes visible what planning could not read: a line in the log for each page, and one line on the screen."""
    if (dataset.root / paths.DATASET_FILE).exists():
        for url, verdict in notes.failures:
            line = {
                "event": "page",
                "time": time.time(),
                "url": url,
                "reason": verdict.reason,
                "detail": verdict.detail,
            }
            append_log(dataset.root, line)
    if notes.summary():
        typer.secho(f"crawl: {notes.summary()}", err=True, fg="yellow" if notes.failures else None)


def _json_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, str) else value


@stage_command
def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Tables of URLs (.csv .tsv .parquet .json .jsonl .txt, also .gz), URLs of HTML pages, saved .html "
            "pages, or folders of images; any number, mixed.",
        ),
    ],
    run: RunOptions,
    out: Annotated[Path, typer.Option(help="The dataset folder; made if there is none.")],
    url_col: Annotated[str | None, typer.Option(help="Table column with URLs. Default: url, image_url, ...")] = None,
    text_col: Annotated[
        str | None, typer.Option(help="Table column with captions. Default: text, caption, ...")
    ] = None,
    keep_col: Annotated[
        list[str] | None, typer.Option(help="A further table column to keep in `extra`; may be repeated.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="Follow links of a page this deep, on its own host only.")] = 0,
    max_pages: Annotated[int, typer.Option(min=1, help="Pages read for each page source, at most.")] = 100,
    max_side: Annotated[int, typer.Option(min=1, help="Pixels; what it limits is said by --resize-mode.")] = 1024,
    min_side: Annotated[int, typer.Option(min=0, help="Drop images whose shorter side has fewer pixels.")] = 0,
    resize_mode: Annotated[
        ResizeMode, typer.Option(help="Which side becomes --max-side. Images are never enlarged.")
    ] = ResizeMode.LONGEST,
    format: Annotated[
        StoredFormat, typer.Option(help="How images are stored. keep: as they come where nothing has to change.")
    ] = StoredFormat.JPEG,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP.")] = 95,
    partition_size: Annotated[int, typer.Option(min=1, help="Attempted images per partition.")] = 1000,
    concurrency: Annotated[int, typer.Option(min=1, help="Downloads at once in each worker process.")] = 64,
    per_host: Annotated[
        int, typer.Option(min=1, help="Requests at once to one host, in each worker process: with N workers, N times.")
    ] = FetchPolicy.per_host,
    delay: Annotated[
        float, typer.Option(min=0, help="Seconds between requests to one host, in each worker process.")
    ] = 0.0,
    timeout: Annotated[float, typer.Option(help="Seconds for one attempt, from connecting to the last byte.")] = 30.0,
    max_bytes: Annotated[int, typer.Option(min=1, help="Largest download, in bytes.")] = FetchPolicy.max_bytes,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Largest image, in pixels; judged from its header.")
    ] = DEFAULT_MAX_PIXELS,
    retries: Annotated[int, typer.Option(min=0, help="Further attempts after a passing failure (5xx, timeouts).")] = 2,
    allow_net: Annotated[
        list[str] | None,
        typer.Option(help="A non-public network to allow, such as 127.0.0.0/8; may be repeated."),
    ] = None,
    ignore_robots: Annotated[
        bool, typer.Option("--ignore-robots", help="Do not read robots.txt. Opt-out headers are heeded all the same.")
    ] = False,
    user_agent: Annotated[str, typer.Option(help="Who you are; say how to reach you.")] = DEFAULT_USER_AGENT,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Fetch again what failed for a passing reason; keep all else.")
    ] = False,
) -> None:
    """Fetch images from URL tables, HTML pages or folders into a dataset.

    Every attempted image gets a row that says what became of it. robots.txt, opt-out headers, and limits on bytes,
    time, pixels and addresses are heeded by default. Run the same command again to go on after an interruption.

    Example: x2i crawl urls.csv https://example.org/gallery.html ~/photos --out my-dataset --max-side 1024
    """
    from pipelines.run import dataset_for_ingest, run_stages

    stage = CrawlStage(
        sources=tuple(sources),
        url_col=url_col,
        text_col=text_col,
        keep_col=tuple(keep_col or ()),
        depth=depth,
        max_pages=max_pages,
        partition_size=partition_size,
        max_side=max_side,
        min_side=min_side,
        resize_mode=resize_mode,
        format=format,
        quality=quality,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        allow_net=tuple(allow_net or ()),
        ignore_robots=ignore_robots,
        user_agent=user_agent,
        concurrency=concurrency,
        per_host=per_host,
        delay=delay,
        timeout=timeout,
        retries=retries,
        retry_failed=retry_failed,
    )
    dataset = dataset_for_ingest(out, run)
    if retry_failed and not run.dry_run:
        forget_passing_failures(dataset, stage)
    run_stages([stage], dataset, run)
