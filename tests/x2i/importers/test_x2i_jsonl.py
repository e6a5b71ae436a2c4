"""Lines of OmniGen's JSONL: those that are right, and each way in which published ones are wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from x2i.importers.omnigen_jsonl import MAX_LINE_BYTES, BadLine, Record, locate, parse_line, read_lines, suffix_kind

EDIT = {
    "task_type": "image_edit",
    "instruction": "<img><|image_1|></img> The umbrella should be red.",
    "input_images": ["edit_source_1.png"],
    "output_image": "edit_target_1.png",
}


def parse(document: object, default_task: str | None = None) -> Record | BadLine:
    return parse_line(7, json.dumps(document).encode(), default_task)


def test_a_line_of_the_authors_toy_data_is_read() -> None:
    assert parse(EDIT) == Record(
        7, "image_edit-000000-007", "image_edit", EDIT["instruction"], ("edit_source_1.png",), "edit_target_1.png"
    )


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"task_type": "try-on"}, "task", "try_on"),
        ({"task_type": " Text to iamge "}, "task", "text_to_iamge"),
        ({"input_images": "edit_source_1.png"}, "inputs", ("edit_source_1.png",)),
        ({"output_image": None, "output_images": ["b.png"]}, "output", "b.png"),
        ({"output_image": None, "output_images": "b.png"}, "output", "b.png"),
    ],
)
def test_what_published_files_write_otherwise_is_understood(
    changes: dict[str, object], field: str, value: object
) -> None:
    found = parse({**EDIT, **changes})
    assert getattr(found, field) == value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task_type": None}, "task_type: expected a name"),
        ({"instruction": 3}, "instruction: expected text"),
        ({"instruction": "no marker"}, "has 1 input images"),
        ({"instruction": "<|image_1|> bare"}, "write each marker whole"),
        ({"instruction": "<img><|image_2|></img>"}, "number them from 1"),
        ({"input_images": [3]}, "input_images: expected a list of paths"),
        ({"input_images": []}, "has 0 input images"),
        ({"output_image": None}, "output_image: expected one path, found 0"),
        ({"output_image": ["a", "b"]}, "expected one path, found 2"),
    ],
)
def test_a_line_that_breaks_a_rule_is_named_with_its_reason(changes: dict[str, object], words: str) -> None:
    found = parse({**EDIT, **changes})
    assert isinstance(found, BadLine)
    assert found.number == 7
    assert words in found.problem


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff\xfe", b'"x"', b"null", b"NaN"])
def test_what_is_no_json_object_is_a_bad_line(text: bytes) -> None:
    assert isinstance(parse_line(1, text), BadLine)


def test_lines_without_a_task_take_the_one_given() -> None:
    found = parse({name: value for name, value in EDIT.items() if name != "task_type"}, "edit")
    assert isinstance(found, Record)
    assert found.task == "edit"


def test_keys_come_back_from_member_names_and_never_twice(tmp_path: Path) -> None:
    lines = [
        {**EDIT, "output_image": f"a/{name}"} for name in ("k-1.output.png", "k-1.output.png", "K.output.png", "x.png")
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    keys = [record.key for record in read_lines(path) if isinstance(record, Record)]
    assert keys == ["k-1", "image_edit-000000-002", "image_edit-000000-003", "image_edit-000000-004"]


def test_compressed_files_and_endless_lines_are_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl.gz"
    line = json.dumps(EDIT).encode() + b"\n"
    with gzip.open(path, "wb") as stream:
        stream.write(line + b"x" * (3 * MAX_LINE_BYTES) + b"\n" + line)
    found = list(read_lines(path))
    assert [type(entry) for entry in found] == [Record, BadLine, Record]
    assert [entry.number for entry in found] == [1, 2, 3]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.png", "a/../../x.png", "..\\x.png", "C:/x.png", "file:///x.png", "a\0.png", ""]
)
def test_a_path_that_leads_outside_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="leads outside"):
        locate(Path("pictures"), path, "")


def test_an_authors_prefix_is_taken_off() -> None:
    assert locate(Path("p"), "/share/author/x2i/a/b.png", "/share/author/x2i") == Path("p/a/b.png")
    assert locate(Path("p"), "a/b.png", "/share") == Path("p/a/b.png")
    with pytest.raises(ValueError, match="leads outside"):
        locate(Path("p"), "/share/../../etc/passwd", "/share")


def test_endings_are_spelled_as_in_shards() -> None:
    assert [suffix_kind(path) for path in ("a.JPEG", "b.jpg", "c.x.png", "d")] == ["jpg", "jpg", "png", ""]
