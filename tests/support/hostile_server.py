"""A web server that misbehaves in every way the crawler must survive: raw sockets, on loopback, in a thread."""

from __future__ import annotations

import asyncio
import gzip
import io
import math
import struct
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import skimage.data
from PIL import Image


@dataclass(frozen=True)
class Request:
    """method, path: of the request line; headers: names in lower case; attempt: 1 for this path's first request."""

    method: str
    path: str
    headers: Mapping[str, str]
    attempt: int


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class LoggedRequest:
    """One line of a site's log. late: by how much at most the server may have noticed the request too late."""

    path: str
    start: float
    late: float
    end: float = math.inf


@dataclass
class Site:
    """One origin (its own port). `hits` counts requests by path; `headers` holds the last request's of each path.

    `log` holds path, start and end of each request, in the order of their starts, in seconds on the monotonic clock.
    """

    port: int
    hits: Counter[str] = field(default_factory=Counter)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    log: list[LoggedRequest] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class Pulse:
    """Tells when the event loop last came round, so that a loop that was kept waiting knows how late its log may be."""

    def __init__(self) -> None:
        self._beats = deque([time.monotonic()], maxlen=3)

    async def beat(self) -> None:
        while True:
            self._beats.append(time.monotonic())
            await asyncio.sleep(0.002)

    def late(self, now: float) -> float:
        """How long ago what is only now noticed may have come in: a request takes a few rounds to be read."""
        return now - self._beats[0]


class HostileServer:
    """Serves any number of sites until `close`. Used as a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._pulse = Pulse()

    def __enter__(self) -> HostileServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start_pulse(), self._loop).result(10)
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def site(self, routes: Mapping[str, Handler], robots: Handler | None = None) -> Site:
        """Opens a new origin. Unknown paths answer 404, and so does robots.txt unless `robots` is given."""
        site = Site(0)
        every = {**routes, "/robots.txt": robots or reply(404)}

        async def serve() -> None:
            async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await _serve_connection(site, every, self._pulse, reader, writer)

            server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
            site.port = server.sockets[0].getsockname()[1]
            self._servers.append(server)

        asyncio.run_coroutine_threadsafe(serve(), self._loop).result(10)
        return site

    async def _start_pulse(self) -> None:
        self._beating = asyncio.create_task(self._pulse.beat())

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve_connection(
    site: Site, routes: Mapping[str, Handler], pulse: Pulse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.split("\r\n")
        method, path, _ = line.split(" ", 2)
        site.hits[path] += 1
        headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields if f)}
        site.headers[path] = headers
        site.at_once += 1
        site.most_at_once = max(site.most_at_once, site.at_once)
        now = time.monotonic()
        logged = LoggedRequest(path, now, pulse.late(now))
        site.log.append(logged)
        try:
            await routes.get(path, reply(404))(Request(method, path, headers, site.hits[path]), writer)
        finally:
            logged.end = time.monotonic()
            site.at_once -= 1
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        return  # the crawler hung up, as it should on most of these, or the test is over
    finally:
        writer.close()


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | list[tuple[str, str]] = ()) -> Handler:
    """Answers with a well-formed response and closes."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if not any(name.lower() == "content-length" for name, _ in pairs):
            pairs.append(("Content-Length", str(len(body))))
        writer.write(response_head(status, [*pairs, ("Connection", "close")]) + body)
        await writer.drain()

    return handler


def response_head(status: int, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def redirect(location: str, status: int = 302) -> Handler:
    return reply(status, headers={"Location": location})


def image(data: bytes, **headers: str) -> Handler:
    return reply(200, data, {"Content-Type": "image/jpeg", **{k.replace("_", "-"): v for k, v in headers.items()}})


def slowly(seconds: float, after_head: bool = False, data: bytes = b"") -> Handler:
    """Waits before the first byte, or between the head and the last byte of `data`."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        if after_head:
            writer.write(response_head(200, [("Content-Length", str(len(data)))]) + data[: len(data) // 2])
            await writer.drain()
        await asyncio.sleep(seconds)
        writer.write(data[len(data) // 2 :] if after_head else response_head(200, [("Content-Length", "0")]))
        await writer.drain()

    return handler


def drip(data: bytes, pause: float) -> Handler:
    """Sends one byte at a time, so that no single wait is long but the whole is."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response_head(200, [("Content-Length", str(len(data)))]))
        for index in range(len(data)):
            writer.write(data[index : index + 1])
            await writer.drain()
            await asyncio.sleep(pause)

    return handler


async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
    """A body without length and without end."""
    writer.write(response_head(200, [("Content-Type", "image/jpeg"), ("Connection", "close")]))
    while True:
        writer.write(b"\xff\xd8\xff" + bytes(65536))
        await writer.drain()
        await asyncio.sleep(0)


def raw(data: bytes) -> Handler:
    """Sends exactly `data` and hangs up."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return handler


def over_and_over(head: bytes, piece: bytes, pause: float = 0.0, times: int = 10**9) -> Handler:
    """Sends `head`, then `piece` until the crawler hangs up, or `times` times."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(times):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return handler


async def reset(request: Request, writer: asyncio.StreamWriter) -> None:
    """Resets the connection instead of answering."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: close sends RST
    writer.transport.abort()


async def garbage(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
    await writer.drain()


def failing_first(times: int, failure: Handler, success: Handler) -> Handler:
    """Answers `failure` for the first `times` requests of a path, then `success`."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        await (failure if request.attempt <= times else success)(request, writer)

    return handler


def photograph(side: int = 96, shift: int = 0, format: str = "JPEG", **options: object) -> bytes:
    """Returns a real photograph as a file: a square of the astronaut, from column `shift`."""
    picture = Image.fromarray(skimage.data.astronaut()[:256, shift : shift + 256]).resize((side, side))
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """Returns a PNG of a few bytes whose header claims `width` x `height` pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(np.zeros(1000, np.uint8).tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def gzip_bomb(megabytes: int) -> bytes:
    """Returns gzip data that inflates to `megabytes` MiB of zeros."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed:
        for _ in range(megabytes):
            packed.write(bytes(1 << 20))
    return stream.getvalue()
