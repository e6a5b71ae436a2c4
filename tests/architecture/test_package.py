"""The wheel is whole: installed elsewhere, without the checkout, its commands find all that they come with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from skimage import data, io

import omnigen
import x2i
from tests.support import REPOSITORY
from x2i.store import Dataset

HEAVY = ("torch", "ray", "scikit-image", "tensorboard", "webdataset", "transformers", "datasets")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built of a copy of the repository, so that nothing is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        if name.startswith(("x2i/", "pipelines", "omnigen", "manifests/")) or "/" not in name:
            (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / "copy" / name, follow_symlinks=False)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, folder / "copy")
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--target", target, wheel)
    return target


def pip(*arguments: object) -> None:
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", *(str(argument) for argument in arguments), *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def run(installed: Path, folder: Path, *command: object) -> str:
    """Runs one of the installed commands in `folder`."""
    return _run(installed, folder, [installed / "bin" / str(command[0]), *command[1:]])


def python(installed: Path, folder: Path, code: str) -> str:
    return _run(installed, folder, [sys.executable, "-c", code])


def _run(installed: Path, folder: Path, command: Sequence[object]) -> str:
    """Runs a command that finds the installed packages before any other."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    arguments = [str(argument) for argument in command]
    ended = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{arguments}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_the_wheel_needs_neither_torch_nor_ray_unless_asked_for_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert any(line.startswith("pyarrow") for line in needed)
    assert [line for line in needed if line.startswith(HEAVY)] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {project["version"], citation["version"], omnigen.__version__} == {x2i.__version__}
    assert f"\n## {x2i.__version__} " in (REPOSITORY / "CHANGELOG.md").read_text()


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    for package in ("x2i", "pipelines", "omnigen"):
        files = [Path(folder) / name for folder, _, names in os.walk(REPOSITORY / package, followlinks=True)
                 for name in names if "__pycache__" not in folder]  # fmt: skip
        for path in files:
            assert held.get(path.relative_to(REPOSITORY).as_posix()) == path.read_bytes(), path


def test_commands_work_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("astronaut", "chelsea"):
        io.imsave(tmp_path / "photos" / f"{name}.png", getattr(data, name)())
    where = "import x2i, pipelines, omnigen; print(x2i.__file__, pipelines.__file__, omnigen.__file__)"
    assert all(path.startswith(str(installed)) for path in python(installed, tmp_path, where).split())

    run(installed, tmp_path, "x2i", "crawl", "photos", "--out", "crawled")
    assert Dataset.open(tmp_path / "crawled").images().num_rows == 2
    python(installed, tmp_path, "import x2i; x2i.Dataset.open('crawled').run('filter', quality={})")
    assert Dataset.open(tmp_path / "crawled").columns() == ["quality"]
    sources = f"crawl.sources=[{tmp_path / 'photos'}]"
    run(installed, tmp_path, "x2i", "build", "x2i", "--out", "data", "--executor", "inline", "--set", sources)
    tasks = {sample.task for sample, _ in Dataset.open(tmp_path / "data").samples()}
    assert {"deblur", "canny_to_image"} <= tasks
    assert (tmp_path / "data" / "report.html").exists()
    assert "deblur" in run(installed, tmp_path, "x2i", "list", "recipes")
    assert "x2i  Your own images" in run(installed, tmp_path, "x2i", "list", "manifests")
    assert "tiny  A small network" in run(installed, tmp_path, "x2i", "list", "configurations")
    estimate = run(installed, tmp_path, "omnigen", "train", "tiny", "--estimate", "--set", "data.shards=[data]")
    assert "parameters" in estimate
