"""A crawl as a stage: every option of it, what they mean for plan and bytes, and which of them make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.engine.stage import PlanItem, Worker
from pipelines.stages.crawl.plan import config_value, plan_crawl
from x2i.crawl.http.policy import DEFAULT_USER_AGENT, FetchPolicy, user_agent_with_contact
from x2i.crawl.process import StoragePolicy, StoredFormat
from x2i.errors import UserError
from x2i.image import ResizeMode
from x2i.image.decode import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from x2i.crawl.sources import SourceOptions
    from x2i.store import Dataset


DECODE_THREADS = 2
"""Two, so that one worker alone has something for two cores; where several share the cores, it makes no difference."""


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
    skip_bad_lines: int = 0
    depth: int = 0
    max_pages: int = 100
    sitemaps: bool = False
    warc_links: bool = False
    frame_interval: float = 2.0
    scene_threshold: float = 20.0
    max_frames: int = 1000
    partition_size: int = 1000
    max_side: int = 1024
    min_side: int = 0
    resize_mode: ResizeMode = ResizeMode.LONGEST
    format: StoredFormat = StoredFormat.JPEG
    quality: int = 95
    max_pixels: int = DEFAULT_MAX_PIXELS
    enlarge: bool = False
    keep_metadata: bool = False
    pdq: bool = False
    max_bytes: int = FetchPolicy.max_bytes
    allow_net: tuple[str, ...] = ()
    ignore_robots: bool = False
    user_agent: str = DEFAULT_USER_AGENT
    contact: str = ""
    concurrency: int = FetchPolicy.concurrency
    per_host: int = FetchPolicy.per_host
    delay: float = FetchPolicy.delay
    timeout: float = FetchPolicy.timeout
    retries: int = FetchPolicy.retries
    retry_failed: bool = False

    name = "crawl"
    preload = ("pipelines.stages.crawl.worker", "pipelines.stages.crawl.incremental", "PIL.Image", "simplejpeg")
    format_version = 1

    def config(self) -> dict[str, Any]:
        planning: tuple[str, ...] = ("sources", "url_col", "text_col", "keep_col", "skip_bad_lines", "partition_size")
        planning += ("depth", "max_pages")
        planning += ("sitemaps", "warc_links", "frame_interval", "scene_threshold", "max_frames")
        return {**{name: config_value(getattr(self, name)) for name in planning}, **self.partition_config()}

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        from x2i.crawl.sources import kind_of

        return {f"source {source}": kind_of(source).digest(source) for source in self.sources}

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        return plan_crawl(self, dataset, earlier=(), later=())

    def worker(self, root: Path) -> Worker:
        from pipelines.stages.crawl.worker import CrawlWorker

        return CrawlWorker(root, self.fetch_policy(), self.storage_policy(), self.retry_failed)

    def fetch_policy(self) -> FetchPolicy:
        shared = {f.name: getattr(self, f.name) for f in fields(FetchPolicy) if hasattr(self, f.name)}
        shared["user_agent"] = user_agent_with_contact(self.user_agent, self.contact)
        return FetchPolicy(**shared, obey_robots=not self.ignore_robots)

    def source_options(self) -> SourceOptions:
        from x2i.crawl.sources import SourceOptions, TableColumns

        columns = TableColumns(self.url_col, self.text_col, tuple(self.keep_col))
        return SourceOptions(
            columns,
            self.fetch_policy(),
            skip_bad_lines=self.skip_bad_lines,
            depth=self.depth,
            max_pages=self.max_pages,
            warc_links=self.warc_links,
            frame_interval=self.frame_interval,
            scene_threshold=self.scene_threshold,
            max_frames=self.max_frames,
            sitemaps=self.sitemaps,
        )

    def storage_policy(self) -> StoragePolicy:
        return StoragePolicy(**{f.name: getattr(self, f.name) for f in fields(StoragePolicy)})

    def reads_pages(self) -> bool:
        """Whether a source is an address, whose contents are seen only by reading it again."""
        from x2i.crawl.sources import kind_of

        return any(kind_of(source).name == "web page" for source in self.sources)

    def partition_config(self) -> dict[str, Any]:
        """Returns the options that decide the bytes of a stored image."""
        names = [f.name for f in fields(StoragePolicy)]
        names += ["max_bytes", "allow_net", "ignore_robots", "user_agent"]
        return {name: config_value(getattr(self, name)) for name in names}

    def __post_init__(self) -> None:
        """Raises UserError for options that make no sense, whatever is done already."""
        from x2i.crawl.http.guard import AddressPolicy
        from x2i.crawl.http.optout import product_token

        if not self.sources:
            raise UserError("crawl: name at least one source: a table of URLs, a page, or a folder of images")
        positive = ("partition_size", "max_side", "max_pixels", "max_bytes", "concurrency", "per_host", "max_pages")
        for name in positive:
            if getattr(self, name) < 1:
                raise UserError(f"crawl: {name}: expected at least 1, found {getattr(self, name)}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"crawl: quality: expected 1 to 100, found {self.quality}")
        if self.timeout <= 0 or min(self.delay, self.retries, self.depth, self.skip_bad_lines) < 0:
            raise UserError("crawl: timeout must be above 0; delay, retries, depth and skip_bad_lines at least 0")
        if self.frame_interval <= 0 or self.scene_threshold < 0 or self.max_frames < 1:
            raise UserError("crawl: frame_interval must be above 0, scene_threshold at least 0, max_frames at least 1")
        if self.partition_size > 100_000:
            raise UserError(f"crawl: partition_size: expected at most 100000, found {self.partition_size}")
        for name in ("user_agent", "contact"):
            value = getattr(self, name)
            if not value.isprintable() or not value.isascii():
                raise UserError(f"crawl: {name}: expected printable ASCII, found {value!r}")
        if not product_token(self.user_agent):
            raise UserError(
                f"crawl: user_agent: expected a name such as 'MyLab/1 (+https://...)', found {self.user_agent!r}"
            )
        AddressPolicy.parse(self.allow_net)
        if self.pdq:
            from x2i.image.hashes import require_pdq

            require_pdq()
