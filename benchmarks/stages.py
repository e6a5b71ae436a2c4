"""What every stage costs on one core: images per CPU second, and bytes written, from real photographs.

    python benchmarks/stages.py [--photos FOLDER] [--images 240] [--update x2i/rates.yaml] [--only filter]

Three datasets are built through the real commands with the inline executor: small photographs stored small, large ones
stored small, and large ones stored large. CPU time of each command is measured (user and system, its children
included), less the CPU time of the same command on a dataset of FEW photographs, which is imports and start-up. So
other programs on the machine disturb little. A cost of the form `fixed + a * source megapixels + b * stored megapixels`
is fitted to the three. Photographs come from a web server on loopback, in another process.

--only measures the crawl and these stages, and leaves the other rates in the file as they are.

Without --photos, the photographs that scikit-image brings along are cut, turned in their light and scaled.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from x2i import relate
from x2i.annotate import ANNOTATIONS
from x2i.image import decode, encode
from x2i.seeding import generator
from x2i.store import Dataset

CASES = {"small": (0.4, 512), "large to small": (2.0, 512), "large": (2.0, 1024)}  # source megapixels, stored side
BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg", "ihc.png")
STAGES = {
    "filter": ["filter"],
    "dedup": ["dedup"],
    "caption": ["caption"],
    "detect": ["detect"],
    "embed": ["embed"],
    "subjects": ["subjects"],
    "annotate-nsfw": ["filter", "--score", "nsfw"],
    "annotate-faces": ["annotate", "faces"],
    "annotate-text": ["annotate", "text"],
}
"""Stage -> its command. What is called annotate-NAME is made where it is asked for, and counted so by `x2i plan`."""
FEW = 6
PARTITION = 20
DETECTED = 60
DEAR = ("detect", "annotate-text")
"""Finding objects and reading text is dear: a part of the images, DETECTED, tells the cost."""
SCORES = tuple(name for name in ANNOTATIONS if ANNOTATIONS.get(name).by_default)
COLUMNS = {
    "filter": SCORES,
    "caption": ("captions",),
    "detect": ("entities",),
    "embed": ("embeddings*",),
    "annotate-nsfw": ("nsfw",),
    "annotate-faces": ("faces",),
    "annotate-text": ("text",),
}
RELATIONS = {kind.spec.made_by: kind for kind in map(relate.RELATIONS.get, relate.RELATIONS)}


@dataclass(frozen=True)
class Measured:
    """One stage on one dataset. cpu_seconds: of all items. source, stored: mean megapixels of an image.

    bytes_in, bytes_out: per item. per_image: items for each image of the dataset.
    """

    stage: str
    items: int
    cpu_seconds: float
    source: float
    stored: float
    bytes_in: float
    bytes_out: float
    per_image: float = 1.0

    @property
    def seconds(self) -> float:
        return self.cpu_seconds / max(1, self.items)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of your own photographs (.jpg)")
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--update", type=Path, help="write the rates to this file, for `x2i plan`")
    parser.add_argument("--machine", default="", help="a line that describes the machine, for the file")
    parser.add_argument("--only", default="", help="measure only these stages, separated by commas, and the crawl")
    options = parser.parse_args()
    only = frozenset(filter(None, options.only.split(",")))
    measured: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory(prefix="x2i-rates-") as folder:
        write_photographs(Path(folder) / "warm" / "web", options.photos, FEW, 0.4)
        list(measure(Path(folder) / "warm", 512, only))  # bytecode is compiled, files are in memory: counted nowhere
        for name, (megapixels, side) in CASES.items():
            place = Path(folder) / name.replace(" ", "-")
            write_photographs(place / "few" / "web", options.photos, FEW, megapixels)
            write_photographs(place / "many" / "web", options.photos, options.images, megapixels)
            few = {found.stage: found for found in measure(place / "few", side, only)}
            for whole in measure(place / "many", side, only):
                found = beyond(whole, few[whole.stage])
                measured.setdefault(found.stage, []).append(found)
                print(json.dumps({"case": name, **vars(found), "images_per_core_second": rate(found)}), flush=True)
    document = rates(measured, options.machine or describe_machine(), options.images)
    if only and options.update:
        document = joined(yaml.safe_load(options.update.read_text(encoding="utf-8")), document, only)
    print(yaml.safe_dump(document, sort_keys=False))
    if options.update:
        options.update.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def write_photographs(folder: Path, photos: Path | None, count: int, megapixels: float) -> None:
    """Writes `count` JPEG files of quality 90 and about `megapixels` each: parts of real photographs, no two alike."""
    folder.mkdir(parents=True)
    names = sorted(photos.glob("*.jpg")) if photos else [files("skimage") / "data" / name for name in BUNDLED]
    for number in range(count):
        pixels = decode(names[number % len(names)].read_bytes())
        random = generator("bench", number)
        share = random.uniform(0.7, 1.0)
        height, width = (int(side * share) for side in pixels.shape[:2])
        top, left = (int(random.integers(0, room + 1)) for room in (pixels.shape[0] - height, pixels.shape[1] - width))
        part = pixels[top : top + height, left : left + width]
        scale = float(np.sqrt(megapixels * 1e6 / (height * width)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=method)
        lit = np.clip(part * random.uniform(0.8, 1.2) + random.uniform(-20, 20), 0, 255).astype(np.uint8)
        (folder / f"{number:05d}.jpg").write_bytes(encode(lit, "jpeg", 90))


def beyond(many: Measured, few: Measured) -> Measured:
    """Returns the items of `many` beyond those of `few`, and the seconds that they took."""
    seconds = max(0.0, many.cpu_seconds - few.cpu_seconds)
    return replace(many, items=max(1, many.items - few.items), cpu_seconds=seconds)


def joined(before: dict[str, Any], now: dict[str, Any], only: frozenset[str]) -> dict[str, Any]:
    """Returns the rates of `before` with those of the stages `only` as they were measured now, and where and when."""
    order = [*STAGES, *before["stages"]]
    stages = before["stages"] | {name: entry for name, entry in now["stages"].items() if name in only}
    names = ", ".join(sorted(only))
    return {
        **before,
        "machine": f"{before['machine']}; {names}: {now['machine']}",
        "command": f"{before['command']}; {now['command']} --only {','.join(sorted(only))}",
        "measured": f"{before['measured']}; {names}: {now['measured']}",
        "stages": dict(sorted(stages.items(), key=lambda entry: (entry[0] != "crawl", order.index(entry[0])))),
    }


def measure(place: Path, side: int, only: frozenset[str] = frozenset()) -> Iterator[Measured]:
    """Builds a dataset of the photographs in `place`/web through the stages, and yields what each took."""
    from x2i.recipes import RECIPES, make_recipe
    from x2i.recipes.plan import missing_tables

    data = place / "data"
    web = place / "web"
    count = len(list(web.iterdir()))
    sent = sum(path.stat().st_size for path in web.iterdir()) / count
    with served(web) as address, open(place / "urls.csv", "w", newline="", encoding="utf-8") as stream:
        rows = [(f"{address}/{path.name}", f"a photograph of a thing, number {path.stem}") for path in web.iterdir()]
        csv.writer(stream).writerows([("url", "text"), *sorted(rows)])
        stream.flush()
        crawl = ["crawl", str(place / "urls.csv"), "--out", str(data), "--max-side", str(side)]
        crawl += ["--partition-size", str(PARTITION)]
        seconds = cpu_seconds([*crawl, "--allow-net", "127.0.0.0/8", "--per-host", "16"])
    table = Dataset.open(data).images(["original_width", "original_height", "width", "height", "data_size"])
    column = {name: table[name].to_numpy().astype(float) for name in table.column_names}
    source = float((column["original_width"] * column["original_height"]).mean() / 1e6)
    stored = float((column["width"] * column["height"]).mean() / 1e6)
    size = float(column["data_size"].mean())

    def found(stage: str, items: int, total: float, out: float, per_image: float = 1.0) -> Measured:
        return Measured(stage, items, total, source, stored, size, out / max(1, items), per_image)

    crawled = found("crawl", count, seconds, column["data_size"].sum() + written(data, "images/*.parquet"))
    yield replace(crawled, bytes_in=sent)
    for stage, arguments in STAGES.items():
        if only and stage not in only:
            continue
        limit = ["--limit", str(DETECTED // PARTITION)] if stage in DEAR else []
        seconds = cpu_seconds([*arguments, str(data), *limit])
        if stage in COLUMNS:
            out = sum(written(data, f"columns/{column}/*") for column in COLUMNS[stage])
        else:
            out = written(data, f"relations/{RELATIONS[stage].spec.name}.*")
        yield found(stage, min(count, DETECTED) if limit else count, seconds, out)
    for name in RECIPES if not only else ():
        recipe = make_recipe(name)
        if missing_tables(Dataset.open(data), recipe) is not None:
            continue
        seconds = cpu_seconds(["materialize", str(data), "--recipe", name, "--max-side", str(side)])
        samples = sum(shard.index(["key"]).num_rows for shard in Dataset.open(data).shards(name))
        if samples or count == FEW:
            out = written(data, f"shards/{name}-*")
            detected = any(table.name == "entities" and not table.optional for table in recipe.reads())
            yield found(
                f"materialize-{name}", samples, seconds, out, samples / (min(count, DETECTED) if detected else count)
            )


def cpu_seconds(arguments: list[str]) -> float:
    """Runs a stage in a process of its own and returns its CPU seconds, user and system."""
    command = [str(Path(sys.executable).with_name("x2i")), *arguments, "--executor", "inline"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    complaint = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {complaint}")
    return usage.ru_utime + usage.ru_stime


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves `folder` over HTTP on loopback from a process of its own; yields the address."""
    code = (
        "import functools, http.server as s; s.SimpleHTTPRequestHandler.protocol_version = 'HTTP/1.1'\n"
        f"h = functools.partial(s.SimpleHTTPRequestHandler, directory={str(folder)!r})\n"
        "server = s.ThreadingHTTPServer(('127.0.0.1', 0), h); print(server.server_port, flush=True)\n"
        "server.serve_forever()"
    )
    command = [sys.executable, "-c", code]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.terminate()
        server.wait()


def written(data: Path, pattern: str) -> float:
    return float(sum(path.stat().st_size for path in data.glob(pattern)))


def rate(found: Measured) -> float:
    """Items per second on one core."""
    return round(1 / found.seconds, 2) if found.seconds else 0.0


def rates(measured: dict[str, list[Measured]], machine: str, images: int) -> dict[str, Any]:
    """Returns the document that `x2i plan` reads."""
    stages = {}
    for stage, points in measured.items():
        seconds = fit(points, [point.seconds for point in points])
        out = fit(points, [point.bytes_out for point in points], of_source=False)
        names = ("fixed", "source_megapixel", "stored_megapixel")
        entry: dict[str, Any] = {
            "seconds": {name: float(f"{value:.4g}") for name, value in zip(names, seconds)},
            "bytes_out": {"fixed": round(out[0]), "stored_megapixel": round(out[2])},
        }
        if stage in RELATIONS:  # one process compares all images
            entry["memory_per_image"] = RELATIONS[stage].memory_per_image
        if stage == "crawl":
            entry["bytes_in_per_source_megapixel"] = round(np.mean([p.bytes_in / p.source for p in points]))
        if stage.startswith("materialize-") and "subject" not in stage:  # pairs depend on the images: a plan assumes
            entry["samples_per_image"] = round(float(np.mean([p.per_image for p in points])), 3)
        stages[stage] = entry
    return {
        "machine": machine,
        "command": f"python benchmarks/stages.py --images {images}",
        "measured": time.strftime("%Y-%m-%d"),
        "stages": stages,
    }


def fit(points: list[Measured], values: list[float], of_source: bool = True) -> tuple[float, float, float]:
    """Returns (fixed, per source megapixel, per stored megapixel), none below 0, by least squares.

    Only the crawl sees the source; later stages read what is stored.
    """
    from scipy.optimize import nnls

    of_source = of_source and points[0].stage == "crawl"
    table = np.array([[1.0, point.source if of_source else 0.0, point.stored] for point in points])
    found, _ = nnls(table, np.array(values))
    return float(found[0]), float(found[1]), float(found[2])


def describe_machine() -> str:
    """Returns the processor's name and the number of cores."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
