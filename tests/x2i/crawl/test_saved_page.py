"""A page saved by a browser: its own files are read, files of others are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.hostile_server import photograph
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.pages.saved_page import MAX_PAGE_BYTES, SavedPageSource, read_saved_page
from x2i.errors import UserError


def _rows(path: Path, markup: str) -> list[tuple[str, bool]]:
    path.write_text(markup, encoding="utf-8")
    return [(row.text, row.location is not None) for row in read_saved_page(path, "x2i")[0]]


def test_files_are_found_by_any_spelling_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "page_files").mkdir()
    for name in ("a b.jpg", "100%.jpg", "b\u00fcro.jpg", "x#y.jpg"):
        (tmp_path / "page_files" / name).write_bytes(photograph())
    markup = """<img src="./page_files/a b.jpg" alt=1><img src="page_files/100%25.jpg" alt=2>
      <img src="page_files\\b\u00fcro.jpg?v=2" alt=3><img src="page_files/x%23y.jpg" alt=4>"""
    path = tmp_path / "page.html"
    path.write_text(markup, encoding="utf-8")
    rows, _ = read_saved_page(path, "x2i")
    names = [Path(row.name).name for row in rows]
    assert names == ["a b.jpg", "100%.jpg", "b\u00fcro.jpg", "x#y.jpg"]
    assert all(row.location is not None and row.name.startswith(f"{tmp_path.name}/page_files/") for row in rows)


def test_files_of_others_are_never_read(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(photograph())
    os.symlink(tmp_path / "secret.jpg", folder / "link.jpg")
    os.symlink("circle.jpg", folder / "circle.jpg")
    markup = "".join(
        f"<img src='{address}' alt='{number}'>"
        for number, address in enumerate(
            (
                "../secret.jpg",
                "/etc/passwd",
                "file:///etc/hosts",
                "file://host/a.jpg",
                "link.jpg",
                "a%00.jpg",
                "%2e%2e/x",
            )
        )
    )
    assert [is_local for _, is_local in _rows(folder / "page.html", markup)] == [False] * 7
    _rows(folder / "page.html", f"<img src=circle.jpg><img src={'a' * 300}.jpg><img src=.>")


def test_addresses_without_a_scheme_that_name_a_host_are_of_the_web(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    markup = "<!-- saved from url=(0025)https://site.example/page -->\n<img src='//cdn.example/a.jpg'>"
    path.write_text(markup)
    [row] = read_saved_page(path, "x2i")[0]
    assert (row.url, row.page_url, row.location) == ("https://cdn.example/a.jpg", "https://site.example/page", None)


def test_a_base_address_of_the_web_holds_for_a_saved_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<base href='https://site.example/dir/'><img src=a.jpg><img src='file:///etc/passwd'>")
    assert [row.url for row in read_saved_page(path, "x2i")[0]] == ["https://site.example/dir/a.jpg"]


def test_a_page_that_cannot_be_read_is_an_error_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with open(path, "wb") as stream:
        stream.truncate(MAX_PAGE_BYTES + 1)
    with pytest.raises(UserError, match="leave it out"):
        list(SavedPageSource(str(path)).rows(PlanningNotes()))
    with pytest.raises(UserError, match="cannot be read"):
        read_saved_page(tmp_path / "gone.html", "x2i")
