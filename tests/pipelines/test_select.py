"""A selection is looked at before it is used."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from pipelines.cli import main
from pipelines.commands.select import _sheet_names
from tests.support import photos
from x2i.store.query import selected


def test_what_is_kept_and_cut_is_counted_and_drawn(tmp_path, capsys):
    dataset = photos.write_all(tmp_path / "data")
    words = ["select", str(dataset.root), "large=quality.min_side >= 150", "unique=NOT duplicates.is_duplicate"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--json", "--sheets", str(tmp_path / "look")])
    assert not end.value.code
    printed = capsys.readouterr().out
    counts = json.loads(printed[: printed.rindex("}") + 1])
    sides = {row["key"]: row["min_side"] for row in dataset.column("quality").to_pylist()}
    duplicates = {row["key"] for row in dataset.relation("duplicates").to_pylist() if row["is_duplicate"]}
    small = {key for key, side in sides.items() if side < 150}
    assert counts["cut"] == {"large": len(small), "unique": len(duplicates - small)}
    assert counts["kept"] == len(sides) - len(small | duplicates)
    assert Image.open(tmp_path / "look/kept.png").width > 500
    assert {path.name for path in (tmp_path / "look").iterdir()} == {"kept.png", "cut-unique.png"}


def test_sheets_are_called_by_their_conditions_and_none_replaces_another():
    names = [
        "sharp",
        "Sharp",
        "images.width >= 512",
        "images.width <= 512",
        "a/b\\..",
        "images.license <> ''",
        "x" * 300,
    ]
    files = list(_sheet_names(names).values())
    assert files[0] == "cut-sharp.png"
    assert files[2] == "cut-images.width-at-least-512.png"
    assert len({file.lower() for file in files}) == len(names)
    assert all(len(file) < 100 and not set(file) & set("/\\<>:\"' ") for file in files)


def test_a_condition_on_one_field_has_a_value_for_each_image(tmp_path):
    dataset = photos.write_all(tmp_path / "data")
    rows = {row["key"]: row for row in dataset.column("quality").to_pylist()}
    keys = list(rows)[:3]
    for predicate in ("quality.min_side >= 150", "NOT (quality.min_side BETWEEN 1 AND 9)", "abs(quality.min_side) > 2"):
        values = {key: rows[key]["min_side"] for key in keys}
        assert selected.tested_values(dataset, predicate, keys) == ("quality.min_side", values)
    several = "quality.min_side > images.width"
    inner = "EXISTS (SELECT 1 FROM quality WHERE quality.min_side > 1)"
    for predicate in (several, inner, "1 < 2"):
        assert selected.tested_values(dataset, predicate, keys) is None


def test_a_faulty_predicate_is_told_with_the_columns_there_are(tmp_path, capsys):
    dataset = photos.write_all(tmp_path / "data")
    with pytest.raises(SystemExit) as end:
        main(["select", str(dataset.root), "quality.min_sied >= 150"])
    assert end.value.code == 2
    assert "min_side" in capsys.readouterr().err
