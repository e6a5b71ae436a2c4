"""Writes the demo web site as files: pages with figures, detail shots, a URL table, and the troubles of a real web."""

from __future__ import annotations

import csv
import html
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from pipelines.demo.photographs import PHOTOGRAPHS, DetailShot, Photograph

PRIVATE_ADDRESS = "http://169.254.169.254/latest/meta-data/photo.jpg"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>
<p>{intro}</p>
{body}
<p><a href="index.html">All pages</a></p>
</body></html>
"""


def write_site(folder: Path, address: str) -> None:
    """Writes the site, to be served at `address`, and its URL table below `folder`. Same address, same bytes."""
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    topics: dict[str, list[Photograph]] = {}
    for photograph in PHOTOGRAPHS:
        topics.setdefault(photograph.topic, []).append(photograph)
        _write_photograph(folder, photograph)
    pages = []
    for topic, photographs in topics.items():
        body = "\n".join(_figure(f"photos/{p.stem}.jpg", p.alt, p.caption, p.license, p.stem) for p in photographs)
        pages.append(_write_page(folder, f"{topic}.html", f"Photographs: {topic}", "Real photographs.", body))
    pages.append(_write_page(folder, "details.html", "Detail shots", _DETAILS_INTRO, _details_body()))
    pages.append(_write_page(folder, "troubles.html", "Troubles", "What every crawl meets.", _troubles_body(folder)))
    links = "\n".join(f'<p><a href="{page}">{page}</a></p>' for page in pages)
    (folder / "index.html").write_text(PAGE.format(title="Demo site", intro="", body=links), encoding="utf-8")
    (folder / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n", encoding="utf-8")
    _write_table(folder, address)


_DETAILS_INTRO = (
    "These are second views of photographs on the other pages, made from them by crop, perspective and light, "
    "since no package holds two photographs of one thing."
)


def make_detail_shot(image: npt.NDArray[np.uint8], shot: DetailShot) -> npt.NDArray[np.uint8]:
    """Returns the detail `shot` of `image` (uint8 BGR, H x W x 3): cropped, seen at an angle, lit differently."""
    height, width = image.shape[:2]
    left, top, right, bottom = (round(share * side) for share, side in zip(shot.box, (width, height, width, height)))
    crop_width, crop_height = right - left, bottom - top
    dx, dy = shot.tilt * crop_width, shot.tilt * crop_height
    corners = [[left, top + dy], [right - dx, top], [right, bottom - dy], [left + dx, bottom]]
    scale = 520 / max(crop_width, crop_height)
    size = (round(crop_width * scale), round(crop_height * scale))
    target = [[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]]
    transform = cv2.getPerspectiveTransform(np.float32(corners), np.float32(target))  # type: ignore[arg-type]
    view = cv2.warpPerspective(image, transform, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    gains = np.array([shot.gain / shot.warmth, shot.gain, shot.gain * shot.warmth], np.float32)
    return np.clip(view.astype(np.float32) * gains, 0, 255).astype(np.uint8)


def _write_photograph(folder: Path, photograph: Photograph) -> None:
    with Image.open(photograph.path) as opened:
        image = np.ascontiguousarray(np.asarray(opened.convert("RGB"))[:, :, ::-1])
    _write_jpeg(folder / "photos" / f"{photograph.stem}.jpg", image)
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    _write_jpeg(folder / "photos" / f"{photograph.stem}-small.jpg", half)
    for number, shot in enumerate(photograph.details, start=1):
        _write_jpeg(folder / "photos" / f"{photograph.stem}-detail-{number}.jpg", make_detail_shot(image, shot))


def _write_jpeg(path: Path, image: npt.NDArray[np.uint8]) -> None:
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())


def _figure(source: str, alt: str, caption: str, license: str, stem: str | None = None) -> str:
    srcset = f' srcset="photos/{stem}-small.jpg 0.5x, {source} 1x"' if stem else ""
    link = f' <a rel="license" href="{license}">License</a>' if license else ""
    return (
        f'<figure><img src="{source}"{srcset} alt="{html.escape(alt)}">'
        f"<figcaption>{html.escape(caption)}{link}</figcaption></figure>"
    )


def _write_page(folder: Path, name: str, title: str, intro: str, body: str) -> str:
    (folder / name).write_text(PAGE.format(title=title, intro=intro, body=body), encoding="utf-8")
    return name


def _details_body() -> str:
    return "\n".join(
        _figure(f"photos/{p.stem}-detail-{number}.jpg", shot.caption, f"A detail shot of {p.stem}.", p.license)
        for p in PHOTOGRAPHS
        for number, shot in enumerate(p.details, start=1)
    )


def _troubles_body(folder: Path) -> str:
    """Links that must each end in their own reason; `pipelines.demo.server` sets the headers that some need."""
    photos = folder / "photos"
    coffee = (photos / "coffee.jpg").read_bytes()
    (folder / "private").mkdir(exist_ok=True)
    (folder / "private" / "coffee.jpg").write_bytes(coffee)
    (photos / "copy-of-coffee.jpg").write_bytes(coffee)
    (photos / "truncated.jpg").write_bytes(coffee[: len(coffee) // 3])
    (photos / "not-a-photo.jpg").write_text("<html><body>Sorry, this picture has moved.</body></html>")
    _write_jpeg(photos / "icon.jpg", np.full((24, 24, 3), 200, np.uint8))
    (photos / "opted-out.jpg").write_bytes(coffee)
    troubles = {
        "photos/copy-of-coffee.jpg": "The same cup of coffee under another address",
        "photos/gone.jpg": "A photograph that is no longer there",
        "photos/truncated.jpg": "A photograph that breaks off in the middle",
        "photos/not-a-photo.jpg": "A page that calls itself a photograph",
        "photos/icon.jpg": "An icon",
        "photos/opted-out.jpg": "A photograph whose owner opts out of machine learning",
        "private/coffee.jpg": "A photograph in a folder that robots.txt closes",
        "photos/elsewhere.jpg": "A photograph that redirects to a private network",
    }
    return "\n".join(f'<p><img src="{source}" alt="{alt}"></p>' for source, alt in troubles.items())


def _write_table(folder: Path, address: str) -> None:
    """A URL table as datasets are often published; some of its rows are on the pages too."""
    with open(folder / "urls.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["url", "caption"])
        for photograph in PHOTOGRAPHS[:6]:
            writer.writerow([f"{address}/photos/{photograph.stem}.jpg", photograph.alt])
