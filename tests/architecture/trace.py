"""Counts the files and functions of this project that one caption, one crawled URL, one sample and one import execute.

    python -m tests.architecture.trace [--files]

Each command runs once untraced, so that imports do not count, then on a fresh dataset with every call recorded. The
second pair of numbers is the worker's part: what runs for the images, after the command line and the engine have
planned them and before the engine commits the result.
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
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from PIL import Image

from pipelines.engine.partition import StageWorkers

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(str(ROOT / name) + "/" for name in ("x2i", "pipelines", "omnigen"))
INLINE = ("--executor", "inline")


def traced(work: Callable[[], None]) -> tuple[set[CodeType], set[CodeType]]:
    """Returns the code objects of this project's functions that `work` called, and those a stage's worker called.

    Threads count too. A worker runs while `StageWorkers.run` does, but for what commits its result.
    """
    called: set[CodeType] = set()
    by_worker: set[CodeType] = set()
    running: list[CodeType] = []
    run, commit = StageWorkers.run.__code__, StageWorkers._committed.__code__

    def record(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "return" and running and code is running[-1]:
            running.pop()
        if event != "call" or not code.co_filename.startswith(PACKAGES) or not _is_function(code):
            return
        called.add(code)
        if code in (run, commit):
            running.append(code)
        elif running and running[-1] is run:
            by_worker.add(code)

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return called, by_worker


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


def measure() -> dict[str, tuple[set[CodeType], set[CodeType]]]:
    """Returns the functions that each trip executes: all, and those of its stage's worker."""
    with tempfile.TemporaryDirectory() as name, site(Path(name)) as table:
        for work in trips(Path(name), table, Path(name) / "warm").values():
            work()
        return {trip: traced(work) for trip, work in trips(Path(name), table, Path(name) / "counted").items()}


def _files(called: set[CodeType]) -> Counter[str]:
    return Counter(Path(code.co_filename).relative_to(ROOT).as_posix() for code in called)


def main() -> None:
    for trip, (called, by_worker) in measure().items():
        files, worker_files = _files(called), _files(by_worker)
        print(
            f"{trip}: {len(files)} files, {len(called)} functions; "
            f"of these its worker: {len(worker_files)} files, {len(by_worker)} functions"
        )
        if "--files" in sys.argv:
            for name, count in sorted(files.items()):
                print(f"  {count:3d} {worker_files[name]:3d} {name}")


if __name__ == "__main__":
    main()
