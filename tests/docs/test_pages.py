"""The pages of the docs work as written: a reader types their `sh` blocks and runs their `python` blocks, in order."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.support.documentation import DOCS, blocks, pages, shell_commands
from tests.support.photographs import photograph

PHOTOGRAPHS = {
    "astronaut": "An astronaut in an orange suit",
    "chelsea": "A ginger cat looks into the camera",
    "coffee": "A cup of coffee on a wooden table",
    "motorcycle_left": "A red motorcycle in a workshop",
    "motorcycle_right": "A red motorcycle among shelves",
    "page": "A page of printed text",
}
SIDE = 288
BEFORE = (
    "x2i crawl photos --out data",
    "x2i filter data",
    "x2i caption data",
    "x2i dedup data",
    "x2i detect data",
    "x2i embed data",
    "x2i materialize data --recipe deblur --max-side 128",
)
"""What a reader of a guide has done already."""
ELSEWHERE = {"finetune.md", "guides/generate.md", "guides/manifests.md"}
"""Pages that need a trained network, which test_finetune follows, or a class of another page (test_manifests_page)."""
FOLLOWED = [
    page.relative_to(DOCS).as_posix()
    for page in pages()
    if page.is_relative_to(DOCS)
    and page.parent.name != "extend"
    and page.relative_to(DOCS).as_posix() not in ELSEWHERE
    and any(language in ("sh", "python") for language, _ in blocks(page.read_text()))
]


def typed(line: str) -> int:
    """Runs a command of the docs in this process; returns its exit status."""
    import omnigen.cli
    import pipelines.cli

    (words,) = shell_commands(line)
    program = {"x2i": pipelines.cli.main, "omnigen": omnigen.cli.main}[words[0]]
    try:
        program(words[1:])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, their captions, and the dataset that a reader of a guide has."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "photos").mkdir()
    for name, caption in PHOTOGRAPHS.items():
        pixels = photograph(f"{name}.png", SIDE)
        Image.fromarray(pixels).save(folder / "photos" / f"{name}.jpg", quality=92)
        (folder / "photos" / f"{name}.txt").write_text(caption)
    Image.fromarray(photograph("astronaut.png", SIDE // 2)).save(folder / "photos" / "copy.jpg", quality=92)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in BEFORE:
            assert typed(line) == 0, line
    return folder


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_works_as_written(page: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(reader, tmp_path / "reader")
    monkeypatch.chdir(tmp_path / "reader")
    if page.startswith("start/"):
        shutil.rmtree("data")
    for language, code in blocks((DOCS / page).read_text()):
        if language == "sh":
            for line in code.splitlines():
                # Training is followed by the tests of the trainer.
                if line.strip() and not line.startswith(("omnigen ", "torchrun ", "#")):
                    assert typed(line) == 0, (page, line)
        elif language == "python":
            exec(compile(code, page, "exec"), {"__name__": "__main__"})
        elif language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", code)):
            Path(named[1]).write_text(code)
