"""kill -9 of the driver or a worker, whenever, changes no byte of a crawl; benchmarks/kill_rounds.py runs many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.killing import kill_rounds


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("executor", "seeds"), [("inline", range(2)), ("processes", range(1, 4)), ("ray", range(1, 2))]
)
def test_a_crawl_that_is_killed_and_continued_comes_to_the_same_bytes(
    tmp_path: Path, executor: str, seeds: range
) -> None:
    counts = kill_rounds(tmp_path, seeds, executor)
    assert counts["rounds"] == len(seeds)
    assert counts["kills"] >= len(seeds)
    assert counts["differing"] == 0
