"""WAT files of Common Crawl (.warc.wat.gz): the image links of its pages, with alt text, to fetch from the web.

What a record holds: https://commoncrawl.org/blog/web-archiving-file-formats-explained
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from x2i.crawl.http.optout import header_opt_out, meta_opt_out
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.sources.archives.files import files_digest, named_files, names_files
from x2i.crawl.sources.archives.warc_record import iterate_records, note_damage, payload
from x2i.crawl.sources.kind import SourceKind
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.pages.metadata_images import meta_images
from x2i.crawl.sources.pages.srcset import largest, parse_srcset
from x2i.crawl.sources.row import SourceRow
from x2i.reasons import Dropped, DroppedError, Reason
from x2i.words import WEB_TEXT

SUFFIXES = (".warc.wat.gz", ".wat.gz", ".warc.wat", ".wat")


class WatSource(SourceKind):
    """A WAT file, or several that a pattern names."""

    title = "WAT file"
    looks_like = " ".join(SUFFIXES)
    text_source = WEB_TEXT
    uses_network = True

    @classmethod
    def accepts(cls, source: str) -> bool:
        return names_files(source, SUFFIXES)

    def rows(self, notes: PlanningNotes) -> Iterator[SourceRow]:
        """Yields the images that the pages of each file show, in the order of the file.

        A record that is no JSON is noted and skipped, and so is a page that opts out, in its headers or meta tags.
        """
        for url in named_files(self.source):
            yield from _file_rows(url, self.policy, notes)

    def digest(self) -> str:
        return files_digest(self.source)


def _file_rows(url: str, policy: FetchPolicy, notes: PlanningNotes) -> Iterator[SourceRow]:
    for record, position in iterate_records(url, notes):
        if "json" not in (record.headers.get("Content-Type") or "").lower():
            continue
        try:
            envelope = json.loads(payload(record, policy.max_bytes))["Envelope"]
            address = str(_at(envelope, "WARC-Header-Metadata").get("WARC-Target-URI") or "")
            answer = _at(_at(envelope, "Payload-Metadata"), "HTTP-Response-Metadata")
        except DroppedError as error:
            note_damage(notes, url, position, error.verdict.reason, error.verdict.detail)
            continue
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            note_damage(notes, url, position, Reason.FILE_ERROR, f"not the JSON of a WAT record: {error!r}"[:200])
            continue
        html = _at(answer, "HTML-Metadata")
        if not html or not address:
            continue
        notes.pages += 1
        signal = _opt_out(answer, html, policy.product_token)
        if signal:
            notes.failures.append((address, Dropped(Reason.OPT_OUT, signal)))
            continue
        yield from _images(html, address)


def _images(html: Mapping[str, Any], page_url: str) -> Iterator[SourceRow]:
    """Yields each image of a page once: its address resolved against the page's base, its alt text and title.

    What its head names as its picture (og:image, twitter:image) comes last.
    """
    base = _joined(page_url, _text(_at(html, "Head").get("Base"))) or page_url
    seen = set()
    for link in _list(html.get("Links")):
        if not isinstance(link, dict) or not _text(link.get("path")).upper().startswith("IMG@"):
            continue
        url = _joined(base, _address(link))
        if url and url not in seen:
            seen.add(url)
            title = _text(link.get("title"))
            yield SourceRow(url, _text(link.get("alt")), page_url, extra={"title": title} if title else {})
    yield from (row for row in meta_images(_metas(html), base, page_url) if row.url not in seen)


def _address(link: Mapping[str, Any]) -> str:
    """Returns what an image link points to; of an IMG@/srcset, the largest candidate."""
    text = str(link.get("url") or "")
    return (largest(list(parse_srcset(text))) or "") if "srcset" in str(link.get("path")).lower() else text


def _opt_out(answer: Mapping[str, Any], html: Mapping[str, Any], agent: str) -> str:
    headers = {str(name): str(value) for name, value in _at(answer, "Headers").items()}
    return header_opt_out(headers, agent) or meta_opt_out(_metas(html), agent)


def _metas(html: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the name, or property, and the content of each meta element."""
    metas = [meta for meta in _list(_at(html, "Head").get("Metas")) if isinstance(meta, dict)]
    return [
        (_text(meta.get("name")) or _text(meta.get("property")).lower(), _text(meta.get("content"))) for meta in metas
    ]


def _joined(base: str, address: str) -> str:
    """Returns an absolute http(s) address without its fragment, "" for anything else."""
    if not address:
        return ""
    try:
        url = urldefrag(urljoin(base, address.strip().replace(" ", "%20"))).url
        return url if urlsplit(url).scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _at(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns an inner object, {} where there is none or something else stands in its place."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
