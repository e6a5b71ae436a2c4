"""A client of chat servers: bounded concurrency, several servers, retries, and a cache of answers on disk.

An answer is kept under the digest of its request, so that a run that was killed never asks, or pays, twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import random
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x2i.errors import RunError
from x2i.sample import canonical_json
from x2i.store.files.atomic import write_json

if TYPE_CHECKING:
    import aiohttp

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
LONGEST_WAIT = 600.0
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
REFUSES_EVERYTHING = frozenset({401, 403, 404})


@dataclass(frozen=True)
class Answer:
    """text: what was said. finish: "stop", "length" or what else the server calls it."""

    text: str
    finish: str
    prompt_tokens: int = 0
    answer_tokens: int = 0


class RequestRefusedError(Exception):
    """The server says that this one request is faulty."""


class ChatClient:
    """Asks chat servers. One event loop in a thread of its own serves all calls; `ask` may be called from any thread.

    urls: base addresses such as http://host:8000/v1; requests take turns. key: the bearer token, "" for none.
    concurrency: requests under way at most. retries: further attempts of one request. timeout: seconds for each.
    cache: the folder of kept answers.
    """

    def __init__(
        self, urls: Sequence[str], key: str, concurrency: int, retries: int, timeout: float, cache: Path
    ) -> None:
        self._urls = itertools.cycle(urls)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._concurrency, self._retries, self._timeout, self._cache = concurrency, retries, timeout, cache
        self._session: aiohttp.ClientSession | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._slots = asyncio.Semaphore(concurrency)

    def ask(self, requests: Sequence[Mapping[str, Any]]) -> list[Answer | RequestRefusedError]:
        """Returns the answers in order; a request that a server calls faulty has its error instead.

        Raises RunError, naming the server, if one does not answer after all attempts.
        """
        waiting: list[Future[Answer | RequestRefusedError]] = [
            asyncio.run_coroutine_threadsafe(self._answer(request), self._loop) for request in requests
        ]
        try:
            return [future.result() for future in waiting]
        finally:
            for future in waiting:
                future.cancel()

    async def _answer(self, request: Mapping[str, Any]) -> Answer | RequestRefusedError:
        name = hashlib.sha256(canonical_json(dict(request)).encode()).hexdigest()
        path = self._cache / name[:2] / f"{name}.json"
        if path.exists():
            return Answer(**json.loads(path.read_bytes()))
        async with self._slots:
            try:
                answer = await self._with_retries(request)
            except RequestRefusedError as error:
                return error
        write_json(path, vars(answer))
        return answer

    async def _with_retries(self, request: Mapping[str, Any]) -> Answer:
        import aiohttp

        pause, problem, url = FIRST_PAUSE, "", ""
        for _ in range(self._retries + 1):
            url, wait = next(self._urls), 0.0
            try:
                async with self._send(self._client(), url, request) as response:
                    if response.status == 200:
                        return self._parse(await response.json(content_type=None))
                    problem = f"HTTP {response.status}: {(await response.text())[:200]}"
                    if response.status in REFUSES_EVERYTHING:
                        break
                    if response.status not in PASSING:
                        raise RequestRefusedError(problem)
                    wait = seconds_to_wait(response.headers.get("Retry-After", ""))
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, IndexError, TypeError) as error:
                problem = f"{type(error).__name__}: {error}"
            await asyncio.sleep(max(wait, pause * random.uniform(0.5, 1.0)))
            pause = min(2 * pause, LONGEST_PAUSE)
        raise RunError(f"{url}: no answer after {self._retries + 1} attempts; the last one: {problem}")

    def _send(
        self, session: aiohttp.ClientSession, url: str, request: Mapping[str, Any]
    ) -> aiohttp.client._RequestContextManager:
        return session.post(f"{url}/chat/completions", json=request)

    def _parse(self, document: Mapping[str, Any]) -> Answer:
        choice, usage = document["choices"][0], document.get("usage") or {}
        tokens = (int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
        return Answer(str(choice["message"]["content"] or ""), str(choice.get("finish_reason") or "stop"), *tokens)

    def _client(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            limit, timeout = aiohttp.TCPConnector(limit=self._concurrency), aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(connector=limit, timeout=timeout, headers=self._headers)
            weakref.finalize(self, _close, self._session, self._loop)
        return self._session


def _close(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Closes the session, in the loop that it belongs to; waits for at most a second."""
    wait_for([asyncio.run_coroutine_threadsafe(session.close(), loop)], timeout=1)


def default_cache() -> Path:
    """Returns the folder of kept answers: $X2I_ANSWERS, or ~/.cache/x2i/answers."""
    return Path(os.environ.get("X2I_ANSWERS") or Path.home() / ".cache" / "x2i" / "answers")


def seconds_to_wait(retry_after: str) -> float:
    """Returns what a Retry-After header says, a number of seconds or a date, as 0 to 600 seconds; 0 for no header."""
    text = retry_after.strip()
    if not text.isdigit():
        try:
            text = str((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):  # no date, or one without a time zone
            return 0.0
    return min(max(float(text), 0.0), LONGEST_WAIT)
