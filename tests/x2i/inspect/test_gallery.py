"""The gallery: complete from disk alone, and deaf to whatever a caption tries to make it do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from x2i.errors import UserError
from x2i.inspect.gallery.gallery import write_gallery
from x2i.inspect.gallery.images import write_image_gallery
from x2i.inspect.html import render_page
from x2i.inspect.target import open_target, select_samples
from x2i.store import Dataset

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """The elements of a page as a browser's parser sees them, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts.append(data)


def gallery(dataset: Dataset, folder: Path, per_task: int = 60) -> Path:
    target = open_target(dataset.root)
    return write_gallery(target, select_samples(target, None, per_task), folder)


def browse(address: str, folder: Path) -> str:
    """Returns the page's elements after its scripts ran, from headless Chromium."""
    assert CHROMIUM
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = "--disable-component-update --disable-sync --virtual-time-budget=4000 --dump-dom"
    command = [CHROMIUM, *flags.split(), *more.split(), f"--user-data-dir={folder}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_every_file_that_the_page_names_lies_beside_it(dataset: Dataset, tmp_path: Path) -> None:
    page = Page(gallery(dataset, tmp_path).read_text())
    data = json.loads(page.scripts[0])
    named = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    named += [image["src"] for sample in data for image in sample["images"]]
    named += [source["picture"] for sample in data for source in sample["sources"]]
    assert len(named) > 80
    for name in named:
        assert name is not None
        assert (tmp_path / name).is_file(), name


def test_images_are_kept_as_they_lie_in_the_shard(dataset: Dataset, tmp_path: Path) -> None:
    gallery(dataset, tmp_path)
    for sample, images in dataset.samples("few_shot"):
        for name, data in zip(("input_1.jpg", "input_2.jpg", "input_3.jpg", "output.jpg"), images):
            assert (tmp_path / "images" / f"{sample.key}.{name}").read_bytes() == data


def test_the_page_asks_nothing_of_the_network(dataset: Dataset, tmp_path: Path) -> None:
    page = Page(gallery(dataset, tmp_path).read_text())
    for tag, attributes in page.elements:
        loaded = attributes.get("src") or (attributes.get("href") if tag == "link" else None) or ""
        assert not re.match(r"(?:[a-z]+:)?//", loaded), (tag, loaded)
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.replace("style-src-attr 'unsafe-inline'", "")


def test_every_card_says_which_files_it_shows(dataset: Dataset, tmp_path: Path) -> None:
    page = Page(gallery(dataset, tmp_path).read_text())
    shown = [attributes["title"] for _, attributes in page.elements if attributes.get("class") == "file"]
    expected = Counter(
        " ".join(url.rpartition("/")[2] for url in sample.source.urls) for sample, _ in dataset.samples()
    )
    assert Counter(shown) == expected


def test_samples_that_are_not_shown_are_counted(dataset: Dataset, tmp_path: Path) -> None:
    text = gallery(dataset, tmp_path, per_task=2).read_text()
    assert "22 samples of 7 tasks; 12 here, 10 not shown" in text
    assert text.count("2 more are not shown") == 5


def test_lineage_reaches_the_page(dataset: Dataset, tmp_path: Path) -> None:
    data = json.loads(Page(gallery(dataset, tmp_path).read_text()).scripts[0])
    sample = next(entry for entry in data if entry["key"] == "deblur-00000-00001")
    assert sample["sources"][0]["page_url"] == "https://photos.example/index.html"
    assert sample["sources"][0]["columns"]["captions"][0]["caption"].startswith("A tabby cat")
    assert sample["parameters"] == {"seed": 42, "sigma": 2.5}
    assert sample["instruction"] == [1, " was taken out of focus. Give it back its detail."]


def test_a_caption_with_markup_stays_text(hostile: Dataset, tmp_path: Path) -> None:
    page = Page(gallery(hostile, tmp_path).read_text())
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not [
        attributes for _, attributes in page.elements if "onerror" in attributes or attributes.get("src") == "x"
    ]
    data = json.loads(page.scripts[0])
    assert any("<script>" in "".join(map(str, sample["instruction"])) for sample in data)


def test_markup_cannot_leave_the_embedded_data_or_an_instruction() -> None:
    hostile = "</script><!--<script>\u2028&"
    card = {"key": '"><b>', "instruction": ["<b>", 2, "\"'&"], "scores": "<i>", "images": []}
    section = {"task": "<u>", "cards": [card], "total": 1, "note": "<u>"}
    values = {"title": hostile, "kind": "gallery", "about": hostile, "sections": [section], "documents": {"a": hostile}}
    text = render_page("gallery.html", "gallery.css", "gallery.js", **values).decode()
    page = Page(text)
    assert not re.search(r"[<>&\u2028]", page.scripts[0].strip())
    assert json.loads(page.scripts[0]) == {"a": hostile}
    assert not {"b", "i", "u"} & {tag for tag, _ in page.elements}
    assert '&lt;b&gt;<span class="badge c2">2</span>&#34;&#39;&amp;' in text


def test_without_samples_the_images_are_shown_with_what_was_found_in_them(dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.root, tmp_path / "d")
    shutil.rmtree(tmp_path / "d/shards")
    page = Page(write_image_gallery(open_target(tmp_path / "d"), tmp_path / "g", 60).read_text())
    data = {entry["key"]: entry for entry in json.loads(page.scripts[0])}
    assert Counter(entry["task"] for entry in data.values()) == {
        "images": 7,
        "subject_pairs": 1,
        "duplicates": 1,
        "not stored": 8,
    }
    cat = data["00000-00001"]
    assert cat["instruction"] == ["A tabby cat looks straight into the camera"]
    assert [image["name"] for image in cat["images"]] == ["00000-00001.jpg", "entities: 1"]
    assert cat["sources"][0]["columns"]["quality"][0]["sharpness"] > 0
    assert [image["number"] for image in data["subject_pairs-00000"]["images"]] == [1, 0]
    assert {image["name"] for image in data["duplicates-00001-00002"]["images"]} == {
        "00000-00000.jpg",
        "00001-00002.jpg",
    }
    named = [image[field] for entry in data.values() for image in entry["images"] for field in ("src", "thumbnail")]
    assert all((tmp_path / "g" / name).is_file() for name in named)


def test_a_dataset_without_anything_is_refused(tmp_path: Path) -> None:
    Dataset.create(tmp_path / "d")
    with pytest.raises(UserError, match="no samples and no images to show"):
        write_image_gallery(open_target(tmp_path / "d"), tmp_path / "g", 60)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_shows_cards_and_details_from_disk_and_runs_no_caption(hostile: Dataset, tmp_path: Path) -> None:
    page = gallery(hostile, tmp_path / "g")
    shown = browse(f"{page.as_uri()}#text_to_image-00000-00000", tmp_path / "profile")
    assert "<title>small: gallery</title>" in shown
    assert re.search(r"<dialog[^>]* open", shown), "the script did not run, or the details did not open"
    assert "https://photos.example/astronaut.png</a>" in shown
    assert "&lt;script&gt;document.title" in shown
