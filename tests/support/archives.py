"""Web archives and WAT files for tests, written by warcio, and records that it would not write, by hand."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

JPEG = ("Content-Type", "image/jpeg")
HTML = ("Content-Type", "text/html; charset=utf-8")


class Archive:
    """A WARC file in the making. `starts` holds the first byte of each record that was added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts: list[int] = []
        self._stream = open(path, "wb")  # noqa: SIM115  closed by the with block
        self._is_gzip = path.suffix == ".gz"
        self._writer = WARCWriter(self._stream, gzip=self._is_gzip)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()

    def answer(
        self,
        url: str,
        body: bytes,
        headers: Sequence[tuple[str, str]] = (JPEG,),
        status: str = "200 OK",
        kind: str = "response",
        **warc_headers: str,
    ) -> None:
        """Adds a record as a crawler writes it: `warc_headers` as WARC_Truncated="length"."""
        http = StatusAndHeaders(status, list(headers), protocol="HTTP/1.1") if kind != "resource" else None
        extra = {name.replace("_", "-"): value for name, value in warc_headers.items()}
        record = self._writer.create_warc_record(
            url,
            kind,
            payload=io.BytesIO(body),
            http_headers=http,
            warc_headers_dict={"WARC-Date": "2024-02-03T04:05:06Z", **extra},
            warc_content_type="" if http else dict(headers).get("Content-Type", ""),
        )
        self.starts.append(self._stream.tell())
        self._writer.write_record(record)

    def raw(self, data: bytes, length: int | None = None) -> None:
        """Adds a record byte for byte, with a Content-Length that may lie."""
        head = (
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:12345678-1234-1234-1234-123456789012>\r\n"
            "WARC-Target-URI: http://raw.example/raw.jpg\r\nWARC-Date: 2024-02-03T04:05:06Z\r\n"
            f"Content-Type: application/http;msgtype=response\r\nContent-Length: {length or len(data)}\r\n\r\n"
        )
        self.starts.append(self._stream.tell())
        whole = head.encode() + data + b"\r\n\r\n"
        self._stream.write(gzip.compress(whole) if self._is_gzip else whole)

    def wat(self, url: str, links: list[dict[str, Any]], head: dict[str, Any] | None = None, **headers: str) -> None:
        """Adds the record that Common Crawl's WAT files hold for a page."""
        html = {"Links": links, "Head": head or {}}
        answer = {"Headers": headers, "HTML-Metadata": html}
        envelope = {
            "WARC-Header-Metadata": {"WARC-Target-URI": url, "WARC-Type": "response"},
            "Payload-Metadata": {"HTTP-Response-Metadata": answer},
        }
        self.metadata(url, json.dumps({"Container": {}, "Envelope": envelope}).encode())

    def metadata(self, url: str, body: bytes) -> None:
        record = self._writer.create_warc_record(
            url, "metadata", payload=io.BytesIO(body), warc_content_type="application/json"
        )
        self.starts.append(self._stream.tell())
        self._writer.write_record(record)
