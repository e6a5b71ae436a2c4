"""The data half works without torch, Ray and every other optional package; what needs one names its extra."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from skimage import data, io

from pipelines.catalog import CATALOGS
from pipelines.cli import COMMAND_NAMES
from tests.architecture.test_import_rules import imports, sources
from tests.support import REPOSITORY
from tests.support.without_extras import OPTIONAL, python_without_extras, run_without_extras
from x2i.store import Dataset

OURS = ("x2i", "pipelines", "omnigen")
NAMES = ("astronaut", "chelsea", "coffee")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "photos").mkdir()
    for name in NAMES:
        io.imsave(folder / "photos" / f"{name}.png", getattr(data, name)())
    ended = run_without_extras(folder, "crawl", "photos", "--out", "data", "--partition-size", 1, "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_every_data_command_works(folder: Path) -> None:
    for command in (
        "filter data",
        "caption data",
        "dedup data",
        "detect data",
        "embed data",
        "materialize data --recipe deblur",
        "verify data",
        "stats data",
        "report data",
        "inspect data --sheet sheet.png --html gallery",
        "export data --to exported --format omnigen-jsonl",
        "plan --images 1k",
        *(f"list {kind}" for kind in CATALOGS if kind != "codecs"),  # those are torch modules
    ):
        ended = run_without_extras(folder, *command.split())
        assert ended.returncode == 0, f"x2i {command}\n{ended.stdout}{ended.stderr}"
    dataset = Dataset.open(folder / "data")
    assert dataset.images()["status"].to_pylist() == ["ok"] * len(NAMES)
    assert [sample.task for sample, _ in dataset.samples()] == ["deblur"] * len(NAMES)


def test_every_import_is_of_a_required_package_or_of_an_optional_one() -> None:
    todo = [
        Requirement(t) for t in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    required: set[str] = set()
    while todo:
        name = canonicalize_name(todo.pop().name)
        if name not in required:
            required.add(name)
            needs = [Requirement(text) for text in requires(name) or ()]
            todo += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    brought_by, others = packages_distributions(), {*sys.stdlib_module_names, *OURS, *OPTIONAL}
    for path in (path for package in OURS for path in sources(package)):
        for package in {name.partition(".")[0] for name in imports(path)} - others:
            distributions = {canonicalize_name(name) for name in brought_by.get(package, ())}
            assert distributions & required, f"{path} imports {package}"


def test_every_module_of_the_data_half_can_be_imported(folder: Path) -> None:
    files = {path for package in ("x2i", "pipelines") for path in (REPOSITORY / package).rglob("*.py")}
    # Classes of torch's kind; what uses them imports them where torch is there.
    files -= {REPOSITORY / "x2i/store/torch_samples.py", REPOSITORY / "x2i/models/groundingdino/text_encoder.py"}
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    ended = python_without_extras(folder, f"for name in {names!r}: __import__(name.removesuffix('.__init__'))")
    assert ended.returncode == 0, ended.stderr


def test_every_command_explains_itself(folder: Path) -> None:
    code = """
import contextlib
from pipelines.cli import COMMAND_NAMES, main
for command in sorted(COMMAND_NAMES):
    with contextlib.suppress(SystemExit):
        main([command, "--help"])
"""
    ended = python_without_extras(folder, code)
    assert ended.returncode == 0, ended.stderr
    assert [name for name in sorted(COMMAND_NAMES) if f"Usage: x2i {name} " not in ended.stdout] == []


@pytest.mark.parametrize(("method", "extra"), [("to_torch", "train"), ("to_hf", "datasets")])
def test_a_method_that_needs_an_extra_names_it(folder: Path, method: str, extra: str) -> None:
    made = run_without_extras(folder, "materialize", "data", "--recipe", "denoise")
    assert made.returncode == 0, made.stderr
    ended = python_without_extras(folder, f"import x2i; x2i.Dataset.open('data').{method}()")
    assert f"UserError: Dataset.{method} needs" in ended.stderr
    assert f"pip install 'x2i[{extra}]'" in ended.stderr


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("pipelines.cli", "crawl photos --out other --executor ray", "ray"),
        ("pipelines.cli", "crawl photos --out other --address auto", "ray"),
        ("pipelines.cli", f"train {REPOSITORY}/manifests/train/tiny.yaml --out run", "train,ray"),
        ("omnigen.cli", f"train {REPOSITORY}/manifests/train/tiny.yaml", "train"),
        ("omnigen.cli", "generate --model run --prompt cat --out cat.png", "train"),
        ("pipelines.cli", "embed data --model open_clip:ViT-B-32 --column other", "models"),
    ],
)
def test_a_command_that_needs_an_extra_names_it(folder: Path, module: str, command: str, extra: str) -> None:
    ended = run_without_extras(folder, *command.split(), module=module)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert f"pip install 'x2i[{extra}]'" in ended.stderr.replace("\n", " ")
