"""A page in headless Chromium that a test types and clicks on, by the browser's own protocol (DevTools)."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0 --window-size=1400,1600"
)


class Tab:
    """One open page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol; returns its result."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = json.loads((await self._socket.receive(timeout=60)).data)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])

    async def run(self, script: str) -> Any:
        """Evaluates JavaScript, a promise to its end; returns its value."""
        result = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    async def until(self, script: str, seconds: float = 90) -> Any:
        """Evaluates until the value is true; returns it."""
        end = time.monotonic() + seconds
        while not (value := await self.run(script)):
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            await asyncio.sleep(0.2)
        return value

    async def click(self, selector: str) -> None:
        """Clicks on the first element that `selector` finds, once it is there."""
        await self.until(f"!!document.querySelector({selector!r})")
        await self.run(f"document.querySelector({selector!r}).click()")

    async def type(self, selector: str, text: str) -> None:
        """Gives a field a new text and says so."""
        await self.until(f"!!document.querySelector({selector!r})")
        await self.run(
            f"(() => {{ const field = document.querySelector({selector!r}); field.focus();"
            f" field.value = {json.dumps(text)};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    async def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in the file input that `selector` finds."""
        await self.until(f"!!document.querySelector({selector!r})")
        root = (await self.send("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.send("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


@asynccontextmanager
async def open_tab(address: str, profile: Path) -> AsyncIterator[Tab]:
    """Opens `address` in a Chromium of its own, which ends with the block."""
    assert CHROMIUM
    browser = subprocess.Popen([CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", address], stderr=-3, stdout=-3)
    try:
        async with aiohttp.ClientSession() as session:
            place = profile / "DevToolsActivePort"
            end = time.monotonic() + 60
            while not (place.is_file() and place.read_text().strip()):
                assert time.monotonic() < end, "Chromium did not start"
                await asyncio.sleep(0.1)
            port = place.read_text().split()[0]
            pages: list[dict[str, Any]] = []
            while not pages:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as found:
                    pages = [page for page in await found.json() if page["type"] == "page"]
                await asyncio.sleep(0.1)
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        browser.terminate()
        browser.wait()
