"""Thousands of damaged images end in a picture or a reason: no crash, no endless decoding, no flood of memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.fuzz import CPU_SECONDS, MAKERS

MOST_MEGABYTES = 200
"""Two million pixels, the largest that the fuzzed policy lets in, take 6 MB as RGB, and a decoder several such."""
QUICK, THOROUGH = 300, 3000


def run_fuzz(kind: str, count: int, first: int, folder: Path) -> dict[str, int]:
    """Returns how often each outcome came, after a run of `count` cases in a process of its own."""
    if kind == "heif" and not find_spec("pillow_heif"):
        pytest.skip("pillow-heif is not installed")
    log = folder / "case"
    command = [sys.executable, "-m", "tests.support.fuzz", kind, str(count), "--first", str(first)]
    done = subprocess.run([*command, "--log", str(log)], capture_output=True, text=True, timeout=280, check=False)
    at = f"{kind}, case {log.read_text() if log.exists() else 'none'}"
    assert done.returncode != -signal.SIGPROF, f"{at}: more than {CPU_SECONDS} s for one image"
    assert done.returncode == 0, f"{at}: exit status {done.returncode}\n{done.stderr[-2000:]}"
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["grown_megabytes"] < MOST_MEGABYTES, f"{kind}: {result['grown_megabytes']} MB"
    return dict(result["outcomes"])


@pytest.mark.parametrize("kind", MAKERS)
def test_mutated_images_end_in_a_picture_or_a_reason(kind: str, tmp_path: Path) -> None:
    outcomes = run_fuzz(kind, QUICK, 0, tmp_path)
    assert sum(outcomes.values()) == QUICK
    assert outcomes["stored"] >= 3, "the mutations never get past the first check"
    assert len(outcomes) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_thousands_of_mutated_images_of_each_format(kind: str, tmp_path: Path) -> None:
    assert sum(run_fuzz(kind, THOROUGH, QUICK, tmp_path).values()) == THOROUGH
