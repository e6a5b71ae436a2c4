"""Serves the demo site over real HTTP on loopback, with the headers and redirects that some of its files need."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipelines.demo.site import PRIVATE_ADDRESS
from x2i.errors import UserError

OPTED_OUT = "/photos/opted-out.jpg"
REDIRECTED = "/photos/elsewhere.jpg"


def site_address(port: int) -> str:
    """Returns the root URL of a site served on `port`."""
    return f"http://127.0.0.1:{port}"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == REDIRECTED:
            self.send_response(302)
            self.send_header("Location", PRIVATE_ADDRESS)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def end_headers(self) -> None:
        if self.path == OPTED_OUT:
            self.send_header("X-Robots-Tag", "noai, noimageai")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """The demo's own lines are enough on the screen."""


class _Server(ThreadingHTTPServer):
    # Two demos on one machine serve the same bytes, so they may share the port: lineage must not depend on luck.
    allow_reuse_port = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no event; anything else is shown as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve_site(folder: Path, port: int) -> Iterator[None]:
    """Serves `folder` at `site_address(port)` while the block runs.

    The port is fixed since URLs are part of a dataset's lineage: two builds of the demo must give equal bytes.
    Raises UserError if another program holds the port.
    """
    try:
        server = _Server(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise UserError(
            f"port {port} on 127.0.0.1 is taken ({error.strerror}): choose another with DEMO_PORT="
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
