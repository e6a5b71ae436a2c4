"""A site of pictures that are related to each other, the stages that use them all, and a search for what is left."""

from __future__ import annotations

import socket
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import pyarrow.parquet as pq

from pipelines.demo.server import serve_site
from pipelines.engine.stage import Stage
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.crawl.stage import CrawlStage
from pipelines.stages.materialize import MaterializeStage
from pipelines.stages.relate.duplicates import DuplicatesStage
from pipelines.stages.relate.subjects import SubjectsStage
from tests.support.crawling import crawl_stage, url_table
from tests.support.photographs import detail_shot, photograph
from x2i.annotate.captions import Captions
from x2i.annotate.embeddings import Embeddings
from x2i.annotate.entities import Entities
from x2i.annotate.quality import Quality
from x2i.image import encode
from x2i.store import Dataset

COFFEE, COPY, SMALL, DETAIL = "coffee.jpg", "coffee-again.jpg", "coffee-small.jpg", "coffee-detail.jpg"
CAPTION = "a cup of coffee with a spoon on a wooden table"


@dataclass(frozen=True)
class Site:
    """A site on loopback under two host names, and the table that names its pictures."""

    folder: Path
    port: int
    table: str

    def url(self, name: str) -> str:
        host = "localhost" if name.startswith("astronaut") else "127.0.0.1"
        return f"http://{host}:{self.port}/{name}"

    @property
    def crawl(self) -> CrawlStage:
        return crawl_stage(
            sources=(self.table,), allow_net=("127.0.0.0/8", "::1/128"), max_side=256, partition_size=4, retries=0
        )

    def stages(self) -> list[list[Stage]]:
        unique = {"unique": "NOT duplicates.is_duplicate"}
        recipes = ("text_to_image", "subject_pair", "deblur", "few_shot")
        options = {"few_shot": {"share": 1.0, "bases": ["deblur", "colorize"]}}
        shards = [
            MaterializeStage(recipe=name, options=options.get(name, {}), select=unique, max_side=96, shard_size=3)
            for name in recipes
        ]
        return [
            [self.crawl],
            [AnnotateStage(Quality()), AnnotateStage(Captions()), AnnotateStage(Embeddings())],
            [DuplicatesStage(), AnnotateStage(Entities())],
            [SubjectsStage()],
            [*shards],
        ]


@contextmanager
def related_pictures(folder: Path) -> Iterator[Site]:
    """Serves a photograph with a copy, a small version and a detail shot, and others, from below `folder`."""
    coffee, rocket = photograph("coffee.png"), photograph("rocket.jpg")
    pictures = {
        SMALL: cv2.resize(coffee, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
        COFFEE: coffee,
        "rocket.jpg": rocket,
        "gone.jpg": None,
        COPY: coffee,
        DETAIL: detail_shot(coffee, "coffee", 1),
        "grass.jpg": photograph("grass.png"),
        "rocket-detail.jpg": detail_shot(rocket, "rocket", 0),
        "motorcycle.jpg": photograph("motorcycle_left.png"),
        "astronaut.jpg": photograph("astronaut.png"),
    }
    for name, pixels in pictures.items():
        if pixels is not None:
            (folder / name).write_bytes(encode(pixels, "jpeg", 92))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        site = Site(folder, probe.getsockname()[1], str(folder / "urls.csv"))
    texts = [CAPTION if name == COFFEE else f"this picture shows {Path(name).stem} in full" for name in pictures]
    url_table(Path(site.table), [site.url(name) for name in pictures], texts)
    with serve_site(folder, site.port):
        yield site


def traces(root: Path, needles: Iterable[str | bytes], skip: Sequence[str] = ()) -> dict[str, list[str]]:
    """Returns which needles each file of the dataset holds, Parquet files searched by their values too."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += repr(pq.read_table(path).to_pylist()).encode()
        hits = [str(n)[:60] for n in needles if (n if isinstance(n, bytes) else n.encode()) in data]
        name = path.relative_to(root).as_posix()
        if hits and not name.startswith(tuple(skip)):
            found[name] = hits
    return found


def members(root: Path) -> dict[str, bytes]:
    """Every member of every tar, images and samples alike."""
    held: dict[str, bytes] = {}
    for path in sorted([*root.glob("images/*.tar"), *root.glob("shards/*.tar")]):
        with tarfile.open(path) as archive:
            held |= {f"{path.name}/{info.name}": archive.extractfile(info).read() for info in archive}
    return held


Needle = str | bytes


def needles_of(root: Path, *names: str) -> set[Needle]:
    """Everything that is known of the images `names` alone: what an image that is not among them shares is left out."""
    dataset = Dataset.open(root)
    rows = {row["key"]: row for row in dataset.images().to_pylist() if row["status"] == "ok"}
    going = {key for key, row in rows.items() if row["url"].endswith(tuple(f"/{name}" for name in names))}
    assert len(going) == len(names)
    known: dict[bool, set[Needle]] = {True: set(), False: set()}
    for key, row in rows.items():
        known[key in going] |= {row["url"], row["text"], row["sha256"], str(row["phash"]), f"{row['phash']:016x}"}
        known[key in going].add(dataset.image(key)[1])
    for row in dataset.column("captions").to_pylist():
        known[row["key"] in going].add(row["caption"])
    for row in dataset.column("embeddings").to_pylist():
        known[row["key"] in going].add(repr(row["embedding"][:8]).rstrip("]"))
    for row in dataset.column("entities").to_pylist():
        if len(row["mask_counts"] or "") > 100:
            known[row["key"] in going].add(row["mask_counts"])
    uids = {rows[key]["uid"] for key in going}
    for sample, images in dataset.samples():
        descends = not uids.isdisjoint(sample.source.uids)
        known[descends] |= {image for image in images if len(image) > 500}
    return known[True] - known[False]


def key_of(root: Path, url: str) -> str:
    return next(row["key"] for row in Dataset.open(root).images().to_pylist() if row["url"] == url)
