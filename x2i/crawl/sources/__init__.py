"""Where images are named: tables, pages, folders, archives, videos; told apart by looking at the source text."""

from __future__ import annotations

from pathlib import Path

from x2i.crawl.sources import folder
from x2i.crawl.sources.archives import files as archive_files
from x2i.crawl.sources.archives import shards, warc, wat
from x2i.crawl.sources.kind import PlanningNotes, SourceKind, SourceOptions
from x2i.crawl.sources.pages import saved_page
from x2i.crawl.sources.pages import site as pages
from x2i.crawl.sources.row import SourceRow
from x2i.crawl.sources.tables import table
from x2i.crawl.sources.tables.table import SUFFIXES, TableColumns
from x2i.crawl.sources.videos import video
from x2i.errors import UserError
from x2i.store.commits import file_digest

__all__ = ["KINDS", "PlanningNotes", "SourceKind", "SourceOptions", "SourceRow", "TableColumns", "kind_of"]

KINDS = (
    SourceKind("table", table.is_table, table.table_rows, table.tables_digest),
    SourceKind("web page", pages.is_web_page, pages.web_page_rows, pages.address_digest),
    SourceKind("folder", folder.is_folder, folder.folder_rows, folder.folder_digest),
    SourceKind("saved page", saved_page.is_saved_page, saved_page.saved_page_rows, lambda s: file_digest(Path(s))),
    SourceKind("WAT file", wat.is_wat, wat.wat_rows, archive_files.files_digest),
    SourceKind("web archive", warc.is_warc, warc.warc_rows, archive_files.files_digest),
    SourceKind("shard", shards.is_shard, shards.shard_rows, archive_files.files_digest),
    SourceKind("video", video.is_video, video.video_rows, archive_files.files_digest),
)
"""Every kind, in the order in which they are asked."""


def kind_of(source: str) -> SourceKind:
    """Returns what kind of source the text names. Raises UserError if it names none."""
    for kind in KINDS:
        if kind.claims(source):
            return kind
    if not Path(source).exists():
        raise UserError(f"source {source!r}: no such file or folder, and no http(s) URL")
    raise UserError(
        f"source {source!r}: unknown kind {Path(source).suffix!r}; expected a table ({' '.join(SUFFIXES)}), "
        "a pattern such as 'lists/*.parquet', an .html page, an http(s) URL of a page, "
        "a web archive (.warc .warc.gz .wat.gz), a WebDataset shard (.tar), "
        f"a video ({' '.join(video.SUFFIXES)}), or a folder of images"
    )
