"""Mistakes in a YAML file are told with file, key path, expectation and nearest valid name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from x2i.errors import UserError
from x2i.settings import load_settings, named_file


@dataclass(frozen=True)
class Inner:
    steps: int = 10
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    title: str
    inner: Inner = field(default_factory=Inner)
    by_task: dict[str, Inner] = field(default_factory=dict)
    maybe: Inner | None = None


def write(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_a_file_becomes_dataclasses_with_defaults(tmp_path):
    path = write(tmp_path, "title: x\ninner: {names: [a, b]}\nby_task: {deblur: {steps: 3}}\n")
    settings = load_settings(Outer, path)
    assert settings == Outer("x", Inner(10, ("a", "b")), {"deblur": Inner(3)})


def test_overrides_are_read_as_yaml_and_win(tmp_path):
    path = write(tmp_path, "title: x\ninner: {steps: 1}\n")
    settings = load_settings(Outer, path, ["inner.steps=7", "inner.names=[p, q]", "maybe.steps=2"])
    assert (settings.inner, settings.maybe) == (Inner(7, ("p", "q")), Inner(2))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("title: x\ninner: {stpes: 3}\n", ["settings.yaml", "inner.stpes", "did you mean 'steps'"]),
        ("title: x\nby_task: {deblur: {step: 3}}\n", ["by_task.deblur.step", "'steps'"]),
        ("title: x\nmaybe: {zzz: 3}\n", ["maybe.zzz", "expected one of: names, steps"]),
        ("title: x\ninner: {steps: many}\n", ["inner.steps", "valid integer", "'many'"]),
        ("inner: {steps: 1}\n", ["title", "required"]),
        ("title: [\n", ["not valid YAML"]),
        ("- a\n", ["expected a mapping"]),
    ],
)
def test_a_mistake_names_file_key_expectation_and_nearest_name(tmp_path, text, parts):
    with pytest.raises(UserError) as caught:
        load_settings(Outer, write(tmp_path, text))
    for part in ["settings.yaml", *parts]:
        assert part in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.yaml: no such file"):
        load_settings(Outer, tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match="expected section.key=value"):
        load_settings(Outer, write(tmp_path, "title: x\n"), ["inner.steps"])


def test_a_file_is_found_by_its_path_or_by_the_name_of_one_that_comes_along(tmp_path, monkeypatch):
    (tmp_path / "come-along").mkdir()
    packaged = tmp_path / "come-along" / "tiny.yaml"
    packaged.write_text("title: x\n")
    mine = write(tmp_path, "title: y\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()  # a folder of that name is not in the way

    assert named_file(mine, packaged.parent, "configuration") == mine
    assert named_file(Path("settings.yaml"), packaged.parent, "configuration", tmp_path) == mine
    assert named_file(Path("tiny"), packaged.parent, "configuration") == packaged
    with pytest.raises(UserError, match="no configuration is called so: did you mean 'tiny'"):
        named_file(Path("tinny"), packaged.parent, "configuration")
    with pytest.raises(UserError, match=r"here/tiny: no such file$"):
        named_file(Path("here/tiny"), packaged.parent, "configuration")
