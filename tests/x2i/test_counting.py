"""Numbers with what they count."""

from __future__ import annotations

import pytest

from x2i.counting import counted


@pytest.mark.parametrize(
    ("phrase", "one"),
    [
        ("partitions run", "1 partition run"),
        ("earlier partitions were made", "1 earlier partition was made"),
        ("addresses", "1 address"),
        ("queries", "1 query"),
        ("sheep counted", "1 sheep counted"),
        ("pictures and faces", "1 picture and faces"),
        ("caption files lie beside no image of their name", "1 caption file lies beside no image of its name"),
        ("rows of tables beside the images name a file", "1 row of tables beside the images names a file"),
    ],
)
def test_one_is_in_the_singular_and_more_are_as_written(phrase: str, one: str) -> None:
    assert counted(1, phrase) == one
    assert counted(0, phrase) == f"0 {phrase}"
    assert counted(1200, phrase) == f"1,200 {phrase}"
