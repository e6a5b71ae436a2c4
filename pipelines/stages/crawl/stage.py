"""A crawl as a stage: its options in groups, and what they mean for plan and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.engine.stage import PlanItem, Worker
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.process import StoragePolicy
from x2i.crawl.sources.options import ArchiveOptions, CaptionOptions, PageOptions, TableOptions, VideoOptions
from x2i.errors import UserError
from x2i.options import Option, as_config, check
from x2i.store import paths
from x2i.store.files.remote import list_files
from x2i.store.stages import ingest_stages

if TYPE_CHECKING:
    from x2i.crawl.sources.kind import SourceKind
    from x2i.store import Dataset


@dataclass(frozen=True)
class CrawlOptions:
    """The options of `x2i crawl`, in groups."""

    tables: TableOptions = field(default_factory=TableOptions)
    captions: CaptionOptions = field(default_factory=CaptionOptions)
    pages: PageOptions = field(default_factory=PageOptions)
    archives: ArchiveOptions = field(default_factory=ArchiveOptions)
    videos: VideoOptions = field(default_factory=VideoOptions)
    storage: StoragePolicy = field(default_factory=StoragePolicy)
    partition_size: Annotated[int, Option("Attempted images per partition.", ge=1, le=100_000)] = 1000
    fetch: FetchPolicy = field(default_factory=FetchPolicy)
    set: Annotated[tuple[str, ...], Option("key=value: an option of a source kind of your own; may be repeated.")] = ()


@dataclass(frozen=True)
class CrawlStage(CrawlOptions):
    """Sources to image partitions.

    What decides which rows are planned, or the bytes of a stored image, is config; how fast and how patiently the
    network is asked (concurrency, per_host, delay, timeout, retries) is not, so it may change between runs.
    """

    sources: Annotated[tuple[str, ...], Option("Tables of URLs, pages, archives, videos, folders of images.")] = ()

    name = "crawl"
    reads = ()
    writes = "images"
    preload = ("pipelines.stages.crawl.worker", "pipelines.stages.crawl.incremental", "PIL.Image", "simplejpeg")
    format_version = 1

    def __post_init__(self) -> None:
        """Raises UserError for options that make no sense, whatever is done already."""
        if not self.sources:
            raise UserError(
                "crawl: name at least one source: a table of URLs, a page, or a folder of images (for a manifest: "
                '--set "crawl.sources=[photos]")'
            )
        check(self, "crawl")

    def config(self) -> dict[str, Any]:
        return as_config(self)

    def partition_config(self) -> dict[str, Any]:
        """Returns the options that decide the bytes of a stored image."""
        return {**as_config(self.storage), **as_config(self.fetch)}

    def inputs(self, dataset: Dataset) -> dict[str, str]:
        return {f"source {text}": one.digest() for text, one in zip(self.sources, self.open_sources(), strict=True)}

    def plan(self, dataset: Dataset) -> Iterator[PlanItem]:
        from pipelines.stages.crawl.plan import plan_crawl

        stages = ingest_stages(dataset.root)
        position = stages.index(self.name) if self.name in stages else len(stages)
        sightings = [path.stem for path in list_files(dataset.root / "sightings", paths.INDEX_SUFFIX)]
        without_images = [name for name in sightings if name not in (*stages, self.name)]
        return plan_crawl(
            self.open_sources(),
            dataset,
            [*stages[:position], *without_images],
            stages[position + 1 :],
            size=self.partition_size,
            config=self.partition_config(),
            max_bytes=self.fetch.max_bytes,
        )

    def worker(self, root: Path) -> Worker:
        from pipelines.stages.crawl.worker import CrawlWorker

        return CrawlWorker(root, self.fetch, self.storage)

    def open_sources(self) -> list[SourceKind]:
        """Returns the sources, ready to be read. Raises UserError for one of no known kind."""
        from x2i.crawl.sources import open_source

        options = (self.tables, self.captions, self.pages, self.archives, self.videos)
        return [open_source(source, options, self.fetch, self.set) for source in self.sources]
