"""The rooms of the house: who may import whom, and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY

ROOMS_FOR_OMNIGEN = "sample tasks store image registry options command_options settings errors reasons seeding"
OMNIGEN_MAY_USE = tuple(f"x2i.{name}" for name in ROOMS_FOR_OMNIGEN.split())
MAY_USE_OMNIGEN = tuple(
    f"pipelines/{name}.py"
    for name in (
        "catalog",
        "cli",
        "commands/build",
        "commands/train",
        "demo/__main__",
        "exam/asking",
        "exam/photographs",
        "exam/scenes",
        "learn/examine",
        "reference/commands",
        "reference/training_keys",
    )
)


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """The absolute names of the modules that a file imports, also inside its functions."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def sources(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_x2i_imports_neither_pipelines_nor_omnigen_nor_ray():
    for path in sources("x2i"):
        assert not [n for n in imports(path) if within(n, ("pipelines", "omnigen", "ray"))], path


def test_omnigen_reads_shards_through_the_store_and_knows_no_pipeline():
    for path in sources("omnigen"):
        names = imports(path)
        assert not [n for n in names if within(n, ("pipelines", "ray", "webdataset"))], path
        of_x2i = [n for n in names if within(n, ("x2i",)) and n != "x2i"]
        assert not [n for n in of_x2i if not within(n, OMNIGEN_MAY_USE)], path


def test_pipelines_uses_omnigen_only_where_training_is_asked_for():
    for path in sources("pipelines"):
        if path.relative_to(REPOSITORY).as_posix() in MAY_USE_OMNIGEN:
            assert not [n for n in imports(path, top_level_only=True) if within(n, ("omnigen",))], path
        else:
            assert not [n for n in imports(path) if within(n, ("omnigen",))], path


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import x2i", ("torch", "ray", "pyarrow", "cv2", "duckdb", "numpy", "PIL")),
        ("import x2i, x2i.store, x2i.sample, x2i.image", ("torch", "ray", "transformers", "diffusers", "webdataset")),
        ("import pipelines.cli", ("torch", "ray", "pyarrow", "cv2", "duckdb", "numpy")),
        ("import omnigen.cli", ("torch", "ray", "transformers", "diffusers", "webdataset")),
    ],
)
def test_heavy_packages_are_not_imported_before_they_are_needed(statement, absent):
    code = f"{statement}; import sys; print([m for m in {absent!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "[]"


def test_omnigen_works_without_ray_webdataset_and_diffusers():
    """As on a GPU machine without a package registry: the whole trainer and generator import with these absent."""
    blocked = "('ray', 'webdataset', 'diffusers')"
    modules = [".".join(p.relative_to(REPOSITORY).with_suffix("").parts) for p in sources("omnigen")]
    code = (
        "import sys, importlib.abc\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {blocked}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"for name in {[m.removesuffix('.__init__') for m in modules]!r}: __import__(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_help_takes_less_than_half_a_second_of_a_core():
    command = [str(Path(sys.executable).with_name("x2i")), "--help"]
    times = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < 0.5


def test_nothing_in_the_repository_points_at_a_machine_or_a_registry():
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        path = REPOSITORY / name
        if path.suffix in (".png", ".jpg", ".gif", ".avif", ".ttf") or path == Path(__file__) or path.is_dir():
            continue
        text = path.read_text(encoding="utf-8")
        for mark in ("../shared", "/work/", "--index-url", "files.pythonhosted"):
            assert mark not in text, f"{name} mentions {mark}"
