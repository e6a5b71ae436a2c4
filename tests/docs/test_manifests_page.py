"""The page on manifests works as written: its build, its dry runs, its changed options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import commands, typed, write_files
from tests.support.photographs import photograph
from x2i.image import encode
from x2i.store import Dataset

PAGE = "guides/manifests.md"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's build was done; its dry runs come before and after it, as on the page."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "photos").mkdir()
    for name in ("rocket.jpg", "coffee.png", "astronaut.png"):
        (folder / "photos" / Path(name).with_suffix(".png")).write_bytes(encode(photograph(name), "png"))
        (folder / "photos" / Path(name).with_suffix(".txt")).write_text(f"A picture of the {Path(name).stem}")
    write_files("extend/score.md", folder)
    write_files(PAGE, folder)
    for words in commands(PAGE):
        changed = any(word.startswith("crawl.") for word in words)
        done = typed(words, folder, "--executor", "inline")
        assert done.returncode == int(changed), (words, done.stdout, done.stderr)
    return folder


def test_the_build_makes_columns_samples_and_pictures(built: Path) -> None:
    data = Dataset.open(built / "data")
    assert {"quality", "saturation", "captions"} <= set(data.columns())
    assert sum(1 for _ in data.samples("text_to_image")) == 3
    assert (built / "data" / "sheet.png").is_file()
    assert (built / "data" / "report.html").is_file()


def test_an_option_of_a_score_of_ones_own_is_changed_by_its_name(built: Path) -> None:
    words = ["x2i", "build", "flowers.yaml", "--out", "data", "--dry-run", "--executor", "inline"]
    assert typed([*words, "--set", "my_scores:Saturation.percentile=90"], built).returncode == 0
    assert typed([*words, "--set", "my_scores:Saturation.percentile=50"], built).returncode == 1
    assert typed([*words, "--set", "my_scores:Saturation.percentage=50"], built).returncode == 2
