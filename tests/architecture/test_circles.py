"""No module imports, directly or through others, a module that imports it; imports inside functions count."""

from __future__ import annotations

import ast
from pathlib import Path

import networkx as nx

from tests.support import REPOSITORY

PACKAGES = ("x2i", "pipelines", "omnigen")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def runtime_imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The project's modules that a file imports when it runs: what is under `if TYPE_CHECKING` is left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in known else node.module)
    return found & set(known)


def test_no_import_goes_in_a_circle():
    known = modules()
    graph = nx.DiGraph((name, other) for name, path in known.items() for other in runtime_imports(path, known))
    circles = [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]
    assert circles == []
