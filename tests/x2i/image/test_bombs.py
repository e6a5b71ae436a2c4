"""A small file that asks for much memory or time gets neither."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.support.bombs import BOMBS

MOST_MEGABYTES = 60
"""The largest is an AVIF whose AV1 frame has 12 million pixels, though its container says 64x48."""
MOST_SECONDS = 5
REFUSED_FROM_THE_HEADER = ("vast size", "vast canvas", "vast frame", "vast tiles")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, float]]:
    names = [name for name in BOMBS if find_spec("pillow_heif") or not name.startswith("heif")]
    command = [sys.executable, "-m", "tests.support.bombs", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory_and_time(name: str, outcomes: dict[str, dict[str, float]]) -> None:
    if name not in outcomes:
        pytest.skip("pillow-heif is not installed")
    assert outcomes[name]["grown_megabytes"] < MOST_MEGABYTES
    assert outcomes[name]["seconds"] < MOST_SECONDS
    if name.endswith(REFUSED_FROM_THE_HEADER) and not name.startswith("avif"):
        assert outcomes[name]["reason"] == "too_many_pixels"
