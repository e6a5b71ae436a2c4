"""A selection is looked at before it is used."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from pipelines.cli import main
from tests.support import photos


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
    assert (tmp_path / "look/cut-2.png").exists()


def test_a_faulty_predicate_is_told_with_the_columns_there_are(tmp_path, capsys):
    dataset = photos.write_all(tmp_path / "data")
    with pytest.raises(SystemExit) as end:
        main(["select", str(dataset.root), "quality.min_sied >= 150"])
    assert end.value.code == 2
    assert "min_side" in capsys.readouterr().err
