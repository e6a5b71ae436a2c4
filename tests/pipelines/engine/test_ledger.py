"""What a refusal says: the part of an option that differs, however long the option is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from tests.support.toy_stage import SquareStage
from x2i.errors import UserError
from x2i.store import Dataset

SCORES = [f"score_{number}" for number in range(30)]


@dataclass(frozen=True)
class OptionStage(SquareStage):
    """A toy stage with one option of any kind."""

    value: Any = field(default=None)

    def config(self) -> dict[str, Any]:
        return {"value": self.value}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (1, 2, "option value: 1 -> 2"),
        (SCORES, [*SCORES, "new"], 'option value: added ["new"]'),
        (SCORES, ["new", *SCORES[1:]], 'option value: removed ["score_0"], added ["new"]'),
        ([1, 2], [2, 1], "option value: [1,2] -> [2,1]"),
        ("a" * 100 + "b", "a" * 100 + "c", 'option value: ...aaaaaaaaaab" -> ...aaaaaaaaaac"'),
        ({"fetch": {"retries": 2}, "x": 1}, {"fetch": {"retries": 3}, "x": 1}, "option value: fetch: retries: 2 -> 3"),
        ({"x": 1}, {"y": 1}, "option value: y: added (1)"),
    ],
)
def test_a_refusal_shows_what_differs(tmp_path: Path, before: Any, after: Any, said: str) -> None:
    options = RunOptions(executor=Executor.INLINE)
    dataset = Dataset.create(tmp_path)
    execute([OptionStage(value=before)], dataset, options)
    with pytest.raises(UserError) as refused:
        execute([OptionStage(value=after)], dataset, options)
    assert f"  {said}\n" in str(refused.value)
