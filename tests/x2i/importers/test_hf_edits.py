"""Sets of edits on disk: input, instruction and edited image of each row arrive together, whatever their columns."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from x2i.errors import UserError
from x2i.importers.base import ImportRecord, Rejected
from x2i.importers.example import number_of, picture
from x2i.importers.hf_edits import HuggingFaceEdits
from x2i.importers.locations import LocationReader
from x2i.importers.samples import checked
from x2i.sample import placeholder
from x2i.tables import IMAGE_TYPE

WORDS = ["make it red", "add a hat", "as a drawing"]


def cells(first: int) -> pa.Array:
    return pa.array([{"bytes": picture(first + n), "path": None} for n in range(len(WORDS))], IMAGE_TYPE)


def read(path: Path, **options: str) -> tuple[list[tuple[int, str, int]], list[Rejected]]:
    """Returns (number of the input, instruction, number of the output) of each sample, and what was rejected."""
    importer = HuggingFaceEdits(**options)
    found = list(importer.records(path))
    reader, samples = LocationReader(importer.root(path)), []
    for record in found:
        if isinstance(record, ImportRecord):
            assert isinstance(checked(record), ImportRecord)
            assert record.sample is not None
            before, after = (number_of(reader.read(image.location)) for image in record.sample.images)
            samples.append((before, record.sample.instruction, after))
    return samples, [record for record in found if isinstance(record, Rejected)]


EXPECTED = [(n, f"{placeholder(1)} {words}", n + 5) for n, words in enumerate(WORDS)]


@pytest.mark.parametrize(
    ("before", "words", "after", "others"),
    [
        ("original_image", "edit_prompt", "edited_image", ("original_prompt", "edited_prompt")),
        ("source_img", "instruction", "target_img", ("img_id",)),
        ("input_image", "edit", "output_image", ("inverse_edit", "input", "output")),
        ("src_img", "edited_prompt_list", "edited_img", ("task",)),
        ("Image", "Prompt", "Output", ()),
    ],
)
def test_columns_are_found_by_the_names_that_sets_give_them(
    tmp_path: Path, before: str, words: str, after: str, others: tuple[str, ...]
) -> None:
    said = [[text, "another"] for text in WORDS] if words.endswith("list") else WORDS
    rest = {name: ["other words"] * len(WORDS) for name in others}
    table = {**rest, "mask_img": cells(1), after: cells(5), words: said, before: cells(0)}
    pq.write_table(pa.table(table), tmp_path / "train-00000.parquet", row_group_size=2)
    for path in (tmp_path, tmp_path / "train-00000.parquet"):
        assert read(path, split="train") == (EXPECTED, [])
    chosen = {"input": after, "output": before.upper(), "instruction": words}
    assert [(one[0], one[2]) for one in read(tmp_path, **chosen)[0]] == [(n + 5, n) for n in range(len(WORDS))]


def test_a_folder_with_metadata_gives_its_rows_and_names_the_faulty_ones(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    lines = []
    for n, words in enumerate(WORDS):
        for folder, number in (("a", n), ("b", n + 5)):
            (tmp_path / f"pictures/{folder}{n}.jpg").write_bytes(picture(number))
        lines.append({"input_file_name": f"a{n}.jpg", "text": words, "edited_file_name": f"b{n}.jpg"})
    lines += [{**lines[0], "text": " "}, {**lines[0], "edited_file_name": "../../c.jpg"}, {"text": "no images"}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "pictures/metadata.jsonl").write_text(text + "{broken\n")
    samples, rejected = read(tmp_path)
    assert samples == EXPECTED
    assert [(one.file, one.line) for one in rejected] == [("pictures/metadata.jsonl", n) for n in (4, 5, 6, 7)]


def test_a_column_that_is_not_found_is_named_with_its_option(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": cells(0), "edit": WORDS, "other": cells(1)}), path)
    with pytest.raises(UserError, match=r"a\.parquet: no column for --output among image, edit, other"):
        read(path)
    with pytest.raises(UserError, match="--output othr: no such column: did you mean 'other'"):
        read(path, output="othr")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no Parquet"):
        read(tmp_path / "none")
