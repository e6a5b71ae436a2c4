"""Hundreds of damaged images end in a picture or a reason: no crash, no endless decoding, no flood of memory.

X2I_FUZZ=N tries N images of each format; `make fuzz` tries thousands.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.fuzz import CPU_SECONDS, MAKERS

MOST_MEGABYTES = 200
"""Two million pixels, the largest that the fuzzed policy lets in, take 6 MB as RGB, and a decoder several such."""
COUNT = int(os.environ.get("X2I_FUZZ", 200))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of COUNT images of each format, in a process of its own, which any crash would end."""
    log = tmp_path_factory.mktemp("fuzz") / "case"
    formats = [kind for kind in MAKERS if kind != "heif" or find_spec("pillow_heif")]
    command = [sys.executable, "-m", "tests.support.fuzz", str(COUNT), *formats, "--log", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    at = log.read_text() if log.exists() else "no case"
    assert done.returncode != -signal.SIGPROF, f"{at}: more than {CPU_SECONDS} s for one image"
    assert done.returncode == 0, f"{at}: exit status {done.returncode}\n{done.stderr[-2000:]}"
    return {line["format"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("kind", MAKERS)
def test_mutated_images_end_in_a_picture_or_a_reason(kind: str, results: dict[str, dict[str, Any]]) -> None:
    if kind not in results:
        pytest.skip("pillow-heif is not installed")
    outcomes = results[kind]["outcomes"]
    assert sum(outcomes.values()) == COUNT
    assert outcomes["stored"] >= 3, "the mutations never get past the first check"
    assert len(outcomes) >= 3
    assert results[kind]["grown_megabytes"] < MOST_MEGABYTES
