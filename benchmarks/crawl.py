"""Crawling: `x2i crawl` against img2dataset, the same list from the same local nginx, in one run.

    python benchmarks/crawl.py [--count 2000] [--megapixels 12] [--photos FOLDER] [--repeats 3]

Longest side to 512, JPEG quality 95, tars out. img2dataset runs two processes of 32 threads; x2i runs as it chooses
(on two cores: two) and once more through Ray. img2dataset and x2i get environments of their own, as `pip install` makes
them, made on first use in --peer-env and --our-env; Ray runs from this one. nginx must be installed. Photographs are
those of scikit-image, cropped and scaled to 0.3 to 3 megapixels (or to --megapixels), unless --photos names a folder of
JPEGs; a --count beyond its files asks for them again under other URLs. All must keep the same images at the same sizes.
Times are of whole commands, the start of Python and of Ray included, from compiled bytecode, as after any installation;
memory is the peak of the summed proportional set size of all their processes.
"""

from __future__ import annotations

import argparse
import compileall
import csv
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from skimage import data

import pipelines
import x2i
from x2i.image import ResizeMode, encode, resize
from x2i.store import Dataset

PEER = ("img2dataset==1.47.0", "setuptools<81")  # before 81 it has the pkg_resources that a dependency imports
REPOSITORY = Path(__file__).resolve().parents[1]
SIDE = 512
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina")
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; types {{ image/jpeg jpg; }}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {photos}; }} }}
"""


@dataclass(frozen=True)
class Measurement:
    seconds: float
    peak_megabytes: float


def make_photographs(folder: Path, count: int, megapixels: float | None) -> list[str]:
    """Writes `count` JPEGs, each another crop of a real photograph; returns their names."""
    rng = np.random.default_rng(0)
    sources = [getattr(data, name)() for name in PHOTOGRAPHS if hasattr(data, name)]
    names = []
    for number in range(count):
        source = sources[number % len(sources)][..., :3]
        share = rng.uniform(0.6, 1.0)
        height, width = (int(side * share) for side in source.shape[:2])
        top, left = (int(rng.integers(0, full - side + 1)) for full, side in zip(source.shape[:2], (height, width)))
        wanted = megapixels or float(np.exp(rng.uniform(np.log(0.3), np.log(3))))
        side = int(max(height, width) * (wanted * 1e6 / (height * width)) ** 0.5)
        crop = np.ascontiguousarray(source[top : top + height, left : left + width])
        names.append(f"{number:05d}.jpg")
        (folder / names[-1]).write_bytes(
            encode(resize(crop, ResizeMode.LONGEST, side, only_if_bigger=False), "jpeg", 90)
        )
    return names


@contextmanager
def serve(photos: Path, folder: Path) -> Iterator[str]:
    """Runs nginx on `photos`; yields its address."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        sys.exit("nginx is needed: apt-get install nginx-light")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, photos=photos))
    process = subprocess.Popen([nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def environment(folder: Path, command: str, *packages: str) -> Path:
    """Returns a command of the environment at `folder`, which is made with `packages` if there is none."""
    if not (folder / "bin" / command).exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *packages], check=True)
    return folder / "bin" / command


def our_environment(folder: Path) -> Path:
    """Returns the x2i command of an environment at `folder` that has this checkout and what it requires, no extras."""
    command = environment(folder, "x2i", str(REPOSITORY))
    pip = str(folder / "bin" / "pip")
    subprocess.run([pip, "install", "-q", "--no-deps", "--force-reinstall", str(REPOSITORY)], check=True)
    return command


def measure(command: Sequence[str | Path]) -> Measurement:
    """Runs `command` to its end. Memory is looked at twice a second, which costs both little."""
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    os.sync()  # or this contender would wait for the disk to take what the one before it wrote
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=environment)
        peak, ended = [0.0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                peak[0] = max(peak[0], _session_megabytes(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.monotonic() - started
        ended.set()
        watcher.join()
        if code:
            output.seek(0)
            sys.exit(f"{command[0]} ended with {code}:\n{output.read().decode(errors='replace')[-3000:]}")
    return Measurement(seconds, peak[0])


def _session_megabytes(root: int) -> float:
    """The proportional set size of `root` and all its descendants, in MB."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
    total = 0
    for pid in parents:
        above: int | None = pid
        while above and above != root:
            above = parents.get(above)
        if above == root:
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except (OSError, StopIteration):
                continue
    return total / 1024


def crawl_ours(program: Path, table: Path, out: Path, executor: str) -> Measurement:
    command = [program, "crawl", table, "--out", out, "--max-side", SIDE, "--quality", 95]
    limits = ["--allow-net", "127.0.0.0/8", "--per-host", 64, "--partition-size", 1000, "--executor", executor]
    return measure([str(part) for part in (*command, *limits)])


def crawl_peer(command: Path, table: Path, out: Path) -> Measurement:
    options = {
        "url_list": table,
        "input_format": "csv",
        "url_col": "url",
        "caption_col": "text",
        "output_format": "webdataset",
        "output_folder": out,
        "image_size": SIDE,
        "resize_mode": "keep_ratio_largest",
        "resize_only_if_bigger": True,
        "encode_quality": 95,
        "processes_count": 2,
        "thread_count": 32,
        "number_sample_per_shard": 1000,
        "enable_wandb": False,
    }
    return measure([str(command), *(f"--{name}={value}" for name, value in options.items())])


def kept_by_ours(out: Path) -> dict[str, tuple[int, int]]:
    rows = Dataset.open(out).images(["url", "status", "width", "height"]).to_pylist()
    return {row["url"]: (row["width"], row["height"]) for row in rows if row["status"] == "ok"}


def kept_by_peer(out: Path) -> dict[str, tuple[int, int]]:
    kept = {}
    for path in sorted(out.glob("*.parquet")):
        with tarfile.open(path.with_suffix(".tar")) as tar:
            stored = {name.partition(".")[0] for name in tar.getnames() if name.endswith(".jpg")}
        for row in pq.read_table(path).to_pylist():
            if row["key"] in stored:
                kept[row["url"]] = (row["width"], row["height"])
    return kept


def require_same(ours: dict[str, tuple[int, int]], peers: dict[str, tuple[int, int]], count: int) -> None:
    """Sizes may differ by a pixel: the two round halves differently."""
    assert len(ours) == count, f"x2i kept {len(ours)} of {count}"
    assert ours.keys() == peers.keys(), f"{len(ours.keys() ^ peers.keys())} images were kept by one alone"
    far = [url for url, size in ours.items() if max(abs(a - b) for a, b in zip(size, peers[url])) > 1]
    assert not far, f"sizes differ: {far[:3]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--megapixels", type=float)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-env", type=Path, default=Path(tempfile.gettempdir()) / "x2i-bench-img2dataset")
    parser.add_argument("--our-env", type=Path, default=Path(tempfile.gettempdir()) / "x2i-bench-x2i")
    options = parser.parse_args()
    peer, ours = environment(options.peer_env, "img2dataset", *PEER), our_environment(options.our_env)
    for package in (pipelines, x2i):  # as pip has done in the other environments
        compileall.compile_dir(package.__path__[0], quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o755)  # nginx, started by root, reads as somebody else
        photos = options.photos or work / "photos"
        if options.photos:
            files = sorted(path.name for path in photos.glob("*.jpg"))
            names = [f"{files[n % len(files)]}?{n // len(files)}" for n in range(options.count)]
        else:
            photos.mkdir()
            names = make_photographs(photos, options.count, options.megapixels)
        runs: dict[str, list[Measurement]] = {"x2i": [], "x2i ray": [], "img2dataset": []}
        with serve(photos.resolve(), work) as address:
            table = work / "urls.csv"
            with open(table, "w", newline="") as stream:
                csv.writer(stream).writerows([("url", "text"), *((f"{address}/{name}", name) for name in names)])
            for number in range(options.repeats):
                outs = work / f"auto-{number}", work / f"ray-{number}", work / f"peer-{number}"
                runs["x2i"].append(crawl_ours(ours, table, outs[0], "auto"))
                runs["x2i ray"].append(crawl_ours(Path(sys.executable).with_name("x2i"), table, outs[1], "ray"))
                runs["img2dataset"].append(crawl_peer(peer, table, outs[2]))
                for out in outs[:2]:
                    require_same(kept_by_ours(out), kept_by_peer(outs[2]), len(names))
                for out in outs:
                    shutil.rmtree(out)
    seconds, memory = {}, {}
    for name, measured in runs.items():
        seconds[name] = statistics.median(run.seconds for run in measured)
        memory[name] = statistics.median(run.peak_megabytes for run in measured)
        rate = len(names) / seconds[name]
        line = {
            "contender": name,
            "images": len(names),
            "seconds": round(seconds[name], 2),
            "images_per_s": round(rate),
        }
        print(json.dumps({**line, "peak_mb": round(memory[name])}))
    for name in ("x2i ray", "x2i"):
        ratio = round(seconds["img2dataset"] / seconds[name], 2)
        print(
            json.dumps(
                {"contender": name, "ratio": ratio, "memory_ratio": round(memory[name] / memory["img2dataset"], 2)}
            )
        )


if __name__ == "__main__":
    main()
