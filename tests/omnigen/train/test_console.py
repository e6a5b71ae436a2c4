"""The lines of a run tell small numbers apart from nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from omnigen.train.console import event_line
from omnigen.train.setup import Setup
from omnigen.train.trainer import Event


@pytest.mark.parametrize(("norm", "shown"), [(0.003251, "0.00325"), (1.2345, "1.23"), (0.0, "0")])
def test_a_small_gradient_is_not_shown_as_none(norm: float, shown: str) -> None:
    timing = {"seconds_per_step": 1.0, "mfu": None, "tokens_per_second": 10.0, "data_wait_share": 0.0}
    values = {"loss": 1.0, "grad_norm": norm, "fill": 1.0, "bad_samples": 0, "timing": timing}
    setup = cast("Setup", SimpleNamespace(phases=[SimpleNamespace(phase=SimpleNamespace(last=5))]))
    assert f"gradient {shown}  fill" in event_line(Event("metrics", 1, values), setup)
