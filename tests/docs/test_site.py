"""The documentation site builds without a warning, asks nothing of the network, and shows only what is drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipelines.gallery.showcases import showcases
from pipelines.reference import write_reference
from tests.support import REPOSITORY
from tests.support.documentation import DOCS, pages
from x2i.annotate import ANNOTATIONS
from x2i.reasons import FAILED_REASONS, Reason
from x2i.recipes import RECIPES
from x2i.relate import RELATIONS

PICTURE = re.compile(r"\((?:\.\./)?(gallery/(\w+)/([\w.]+)\.webp)\)")
REMOTE = re.compile(r"""<(?:link|script|img|iframe)[^>]+(?:href|src)=["']?(?:https?:)?//[^"'> ]+""")
PICTURES = sorted({found for page in pages() for found in PICTURE.findall(page.read_text())})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for _, kind, name in PICTURES])
def test_the_gallery_draws_every_picture_that_a_page_shows(kind: str, name: str):
    if kind == "scores":
        column, field = name.split(".")
        assert field in ANNOTATIONS.get(column)().spec().schema.names
    else:
        columns = {*ANNOTATIONS, *(one.name for one in showcases(Path("weights.pth")))}
        assert name in {"tasks": RECIPES, "columns": columns, "relations": RELATIONS}[kind]


def test_the_site_builds_strictly_and_is_self_contained(tmp_path: Path):
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("reference", "gallery"))
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    (tmp_path / "pipelines").symlink_to(REPOSITORY / "pipelines")
    write_reference(tmp_path / "docs" / "reference")
    for path, _, _ in PICTURES:  # drawing them takes minutes
        (tmp_path / "docs" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "docs" / path)
    (tmp_path / "docs" / "gallery" / "index.md").write_text("# Gallery\n\n## Scores\n\n## Tasks\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        assert not REMOTE.search(page.read_text()), page


def test_troubleshooting_explains_every_reason():
    page = (DOCS / "troubleshooting.md").read_text()
    explained = dict(re.findall(r"^\| `(\w+)` \| (failed|filtered) \|", page, re.MULTILINE))
    assert explained == {str(reason): "failed" if reason in FAILED_REASONS else "filtered" for reason in Reason}
