"""A chat server that answers, stalls, hangs up, refuses and fails as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

from aiohttp import web


class ChatServer:
    """Speaks the OpenAI chat interface on loopback. script: what happens to the n-th request; then it answers.

    seen: the requests in order; answered: those of them that got their answer.
    Entries: an HTTP status; "stall", "hang up", "cut off", "no json"; ("busy", Retry-After); or a (text, finish_reason)
    pair to answer with.
    """

    path = "chat/completions"

    def __init__(self, script: list[Any] | None = None, seconds: float = 0.0) -> None:
        self.script, self.seconds = list(script or []), seconds
        self.seen: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.statuses: Counter[Any] = Counter()
        self.under_way = self.most_under_way = 0

    def __enter__(self) -> ChatServer:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, args=(started,), daemon=True).start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post(f"/v1/{self.path}", self._chat)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        started.set()
        self._loop.run_forever()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        document = await self._document(request)
        self.seen.append(document)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._answer(request, document, self.script.pop(0) if self.script else None)
        finally:
            self.under_way -= 1

    async def _answer(self, request: web.Request, document: dict[str, Any], what: Any) -> web.StreamResponse:
        self.statuses[what if isinstance(what, (int, str)) else "answered"] += 1
        if isinstance(what, int):
            return web.Response(status=what, text="not now", headers={"Retry-After": "0"} if what == 429 else {})
        if what == "stall":
            await asyncio.sleep(60)
        if what == "hang up":
            request.transport.close()
        if what == "cut off":
            head = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
            await head.prepare(request)
            await head.write(b'{"choices": [{"message": {"content": "A pic')
            request.transport.close()
            return head
        if isinstance(what, tuple) and what[0] == "busy":
            return web.Response(status=429, text="busy", headers={"Retry-After": what[1]})
        if what == "no json":
            return web.Response(text="<html>")
        await asyncio.sleep(self.seconds)
        self.answered.append(document)
        return self._reply(what)

    async def _document(self, request: web.Request) -> dict[str, Any]:
        return await request.json()

    def _reply(self, what: Any) -> web.StreamResponse:
        text, finish = what if isinstance(what, tuple) else ("A picture of something", "stop")
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 40, "completion_tokens": 5}})


class EditServer(ChatServer):
    """Speaks the OpenAI image interface: POST images/edits with a form. Entries of the script: a status, or the text
    that stands where the image should.
    """

    path = "images/edits"

    async def _document(self, request: web.Request) -> dict[str, Any]:
        form = await request.post()
        return {name: v.file.read() if isinstance(v, web.FileField) else v for name, v in form.items()}

    def _reply(self, what: Any) -> web.StreamResponse:
        return web.json_response({"data": [{"b64_json": what}]})
