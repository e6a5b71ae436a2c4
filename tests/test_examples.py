"""The examples run: each script as it is typed, each notebook cell by cell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.support import REPOSITORY
from tests.support.photographs import photograph
from x2i.image import encode

EXAMPLES = REPOSITORY / "examples"
NAMES = ("astronaut", "chelsea", "coffee")
FEW_STEPS = [
    "train.steps=3",
    "train.packs_per_step=1",
    "train.pack_tokens=512",
    "data.workers=0",
    "data.max_side=64",
    "log.every=1",
    "log.sample_every=0",
    "data.validation_fraction=0",
]
NOTEBOOK = """
import ast, json, pathlib, sys

def display(*values):
    for value in values:
        for way in ("_repr_html_", "_repr_png_"):
            shown = getattr(value, way, lambda: None)()
            if shown:
                print(f"[{{type(value).__name__}}: {{len(shown)}}]")
                break
        else:
            print(repr(value))

names = {{"display": display, "__name__": "__main__"}}
for cell in {cells!r}:
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        if value is not None:
            display(value)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, and the same as a Hugging Face image folder."""
    folder = tmp_path_factory.mktemp("examples")
    for kind in ("photos", "captioned"):
        (folder / kind).mkdir()
        for name in NAMES:
            (folder / kind / f"{name}.jpg").write_bytes(encode(photograph(f"{name}.png", 320), "jpeg", 95))
    lines = [json.dumps({"file_name": f"{name}.jpg", "text": f"This is {name}."}) for name in NAMES]
    (folder / "captioned" / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def run(folder: Path, *command: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, *(str(argument) for argument in command)]
    ended = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def run_notebook(folder: Path, name: str, replaced: str = "", replacement: str = "") -> list[str]:
    """Runs a notebook's cells in `folder`, one text of it replaced; returns the lines that it shows."""
    document = json.loads((EXAMPLES / name).read_text())
    assert not any(cell["outputs"] for cell in document["cells"] if cell["cell_type"] == "code")
    cells = ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]
    assert replaced in "".join(cells)
    code = NOTEBOOK.format(cells=[cell.replace(replaced, replacement) if replaced else cell for cell in cells])
    return run(folder, "-c", code).splitlines()


def test_scripts_from_photographs_to_samples(folder: Path) -> None:
    shown = run(folder, EXAMPLES / "crawl_folder.py", "photos", "data")
    assert shown.startswith("3 images stored")
    assert shown.count("<Picture ") == len(NAMES)
    shown = run(folder, EXAMPLES / "query.py", "data")
    assert "sharpness" in shown
    large = [name for name in NAMES if min(photograph(f"{name}.png", 320).shape[:2]) >= 256]
    assert shown.count("<Picture ") == len(large) > 0
    assert "score" in run(folder, EXAMPLES / "own_score.py", "data")
    shown = run(folder, EXAMPLES / "materialize_recipe.py", "data", "samples")
    assert len(shown.splitlines()) == len(NAMES)
    written = sorted((folder / "samples").iterdir())
    assert len(written) == 2 * len(NAMES)
    assert all(cv2.imread(str(path)) is not None for path in written)


def test_a_script_imports_images_with_their_captions(folder: Path) -> None:
    shown = run(folder, EXAMPLES / "import_hf_images.py", "captioned", "imported")
    assert sorted(line.partition(" ")[2] for line in shown.splitlines()) == [f"This is {name}." for name in NAMES]


def test_a_script_trains_and_generates(folder: Path) -> None:
    run(folder, EXAMPLES / "crawl_folder.py", "photos", "to-train")
    run(folder, EXAMPLES / "materialize_recipe.py", "to-train", "to-train-samples")
    run(folder, EXAMPLES / "train_tiny.py", "to-train", "run", *FEW_STEPS)
    assert cv2.imread(str(folder / "run" / "generated.png")).shape == (64, 64, 3)


@pytest.fixture
def photos(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "photos").symlink_to(folder / "photos")
    return tmp_path


def test_the_notebook_of_photographs(photos: Path) -> None:
    shown = run_notebook(photos, "photographs.ipynb")
    assert any(line.startswith("[Dataset: ") for line in shown)
    assert any(line.startswith(("[Picture: ", "[Image: ")) for line in shown)
    assert any("is_duplicate" in line for line in shown)


def test_the_notebook_of_samples(photos: Path) -> None:
    shown = run_notebook(photos, "samples.ipynb")
    assert sum(line.startswith(("[Picture: ", "[Image: ")) for line in shown) == 6
    assert sum("[(3, " in line for line in shown) == len(NAMES)


def test_the_notebook_of_training(photos: Path) -> None:
    shown = run_notebook(photos, "training.ipynb", '["train.steps=500"]', repr(FEW_STEPS))
    assert shown[-1].startswith(("[Picture: ", "[Image: "))
