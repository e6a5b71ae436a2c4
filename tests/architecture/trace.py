"""Counts the files and functions of this project that one caption, one crawled URL, one sample and one import execute.

    python -m tests.architecture.trace

Each command runs once untraced, so that imports do not count, then on a fresh dataset with every call recorded.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(str(ROOT / name) + "/" for name in ("x2i", "pipelines", "omnigen"))
INLINE = ("--executor", "inline")


def traced(work: Callable[[], None]) -> set[CodeType]:
    """Returns the code objects of this project's functions that `work` called, in all threads."""
    called: set[CodeType] = set()

    def record(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGES) and _is_function(frame.f_code):
            called.add(frame.f_code)

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return called


def _is_function(code: CodeType) -> bool:
    is_body = not code.co_flags & 0x2  # modules and classes have no local variables of their own
    return not is_body and code.co_name not in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


def command(*arguments: object) -> None:
    """Runs `x2i ARGUMENTS` in this process, without what it prints."""
    from pipelines.cli import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"x2i {arguments[0]} ended with {end.code}") from end


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def site(folder: Path) -> Iterator[str]:
    """Serves two pictures and a table of their URLs; yields the table's path."""
    for number in (1, 2):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 24, 3), np.uint8)
        Image.fromarray(pixels).resize((240, 160), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    lines = [f"{address}/{number}.jpg,A picture of {number} fields\n" for number in (1, 2)]
    (folder / "urls.csv").write_text("url,text\n" + "".join(lines))
    try:
        yield str(folder / "urls.csv")
    finally:
        server.shutdown()


def trips(folder: Path, table: str, data: Path) -> dict[str, Callable[[], None]]:
    """Returns what is traced, in order: each adds to the dataset at `data`."""
    line = {"task_type": "edit", "instruction": "Sharpen <img><|image_1|></img>.", "input_images": ["1.jpg"]}
    records = folder / "records.jsonl"
    records.write_text(json.dumps({**line, "output_image": "2.jpg"}) + "\n")
    images = ("--images", folder, "--out", data / "imported")
    return {
        "crawl": lambda: command("crawl", table, "--out", data, "--allow-net", "127.0.0.0/8", *INLINE),
        "caption": lambda: command("caption", data, *INLINE),
        "sample": lambda: command("materialize", data, "--recipe", "deblur", *INLINE),
        "import": lambda: command("import", "x2i-jsonl", records, *images, *INLINE),
    }


def measure() -> dict[str, set[CodeType]]:
    """Returns the functions that each trip executes."""
    with tempfile.TemporaryDirectory() as name, site(Path(name)) as table:
        for work in trips(Path(name), table, Path(name) / "warm").values():
            work()
        return {trip: traced(work) for trip, work in trips(Path(name), table, Path(name) / "counted").items()}


def main() -> None:
    for trip, called in measure().items():
        files: dict[str, int] = {}
        for code in called:
            name = Path(code.co_filename).relative_to(ROOT).as_posix()
            files[name] = files.get(name, 0) + 1
        print(f"{trip}: {len(files)} files, {len(called)} functions")
        if "--files" in sys.argv:
            for name, count in sorted(files.items()):
                print(f"  {count:3d} {name}")


if __name__ == "__main__":
    main()
