"""Reference pages are written from the registries."""

from __future__ import annotations

from pipelines.catalog import CATALOGS, entries
from pipelines.reference import write_reference


def test_a_page_shows_every_entry_with_its_options(tmp_path):
    pages = {path.stem: path.read_text() for path in write_reference(tmp_path)}
    assert set(pages) == set(CATALOGS)
    for kind, text in pages.items():
        for entry in entries(kind):
            assert f"## {entry['name']}\n\n{entry['title']}.\n" in text
            assert all(f"| `{name}` | `" in text for name in entry["options"])


def test_every_entry_has_a_title_and_every_option_help():
    for kind in CATALOGS:
        for entry in entries(kind):
            assert entry["title"], (kind, entry["name"])
            for name, about in entry["options"].items():
                assert about["help"], (kind, entry["name"], name)
