"""Options are written once and read by command lines, manifests and fingerprints alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from x2i.command_options import with_options
from x2i.errors import UserError
from x2i.options import Option, as_config, build, check, defaults
from x2i.settings import from_mapping, with_set


def pairs(texts: list[str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


@dataclass(frozen=True)
class Limits:
    timeout: Annotated[float, Option("Seconds.", gt=0)] = 3.0
    retries: Annotated[int, Option("Attempts.", ge=0, le=5, decides=False)] = 2


@dataclass(frozen=True)
class Step:
    name: str = "step"  # no option
    limits: Limits = Limits()
    side: Annotated[int, Option("Pixels.", ge=16, flag="--max-side")] = 64
    keep: Annotated[tuple[str, ...], Option("Columns to keep.")] = ()
    where: Annotated[Mapping[str, str], Option("Named predicates.", parse=pairs)] = field(default_factory=dict)
    fast: Annotated[bool, Option("Skip checks.")] = False
    label: Annotated[str | None, Option("A label.")] = None


def typed(*arguments: str) -> tuple[object, int, str]:
    seen: list[Step] = []

    @with_options
    def command(step: Step) -> None:
        seen.append(step)

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    return (seen[0] if seen else result.exception), result.exit_code, result.output


def test_a_command_line_gives_what_was_typed_and_keeps_defaults():
    step, code, _ = typed("--max-side", "32", "--timeout", "0.5", "--keep", "a", "--keep", "b", "--where", "x=y > 1")
    assert code == 0
    assert step == Step(limits=Limits(timeout=0.5), side=32, keep=("a", "b"), where={"x": "y > 1"})
    assert typed()[0] == Step()


def test_help_shows_every_option_of_every_group():
    _, code, text = typed("--help")
    assert code == 0
    for flag in ("--max-side", "--timeout", "--retries", "--keep", "--where", "--fast", "--label"):
        assert flag in text
    assert "--no-fast" not in text


def test_values_out_of_bounds_are_refused_on_every_way_in():
    assert typed("--max-side", "8")[1] == 2
    assert isinstance(typed("--timeout", "0")[0], UserError)
    with pytest.raises(UserError, match=r"limits\.timeout: expected more than 0, found -1"):
        from_mapping(Step, {"timeout": -1.0}, "here")
    with pytest.raises(UserError, match=r"side: expected at least 16, found 2"):
        check(build(Step, {"side": 2}), "here")


def test_set_reads_yaml_and_names_the_nearest_option():
    assert with_set(Step, ["retries=5", "keep=[a]"], "here") == Step(limits=Limits(retries=5), keep=("a",))
    with pytest.raises(UserError, match=r"here: retrys: unknown key: did you mean 'retries'"):
        with_set(Step, ["retrys=5"], "here")
    with pytest.raises(UserError, match="side"):
        with_set(Step, ["side=wide"], "here")


def test_a_fingerprint_holds_what_decides_the_bytes():
    config = as_config(Step(limits=Limits(retries=4), where={"a": "b"}))
    assert config == {"timeout": 3.0, "side": 64, "keep": [], "where": {"a": "b"}, "fast": False, "label": None}


def test_defaults_are_those_of_the_fields():
    assert defaults(Step)["retries"] == 2
