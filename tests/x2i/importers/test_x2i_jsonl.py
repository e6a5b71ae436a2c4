"""Lines of OmniGen's JSONL: those that are right, and each way in which published ones are wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from x2i.errors import UserError
from x2i.importers.base import ImportRecord, Rejected, SourceSample
from x2i.importers.locations import inside
from x2i.importers.samples import SampleKind, checked
from x2i.importers.x2i_jsonl import MAX_LINE_BYTES, X2IJsonl
from x2i.reasons import Reason

EDIT = {
    "task_type": "image_edit",
    "instruction": "<img><|image_1|></img> The umbrella should be red.",
    "input_images": ["edit_source_1.png"],
    "output_image": "edit_target_1.png",
}


FOLDER = Path("/pictures")


def parse(document: object, importer: X2IJsonl = X2IJsonl()) -> ImportRecord | Rejected:  # noqa: B008  it is frozen
    return checked(importer.line("lines.jsonl", 7, json.dumps(document).encode(), FOLDER))


def sample_of(found: ImportRecord | Rejected) -> SourceSample:
    assert isinstance(found, ImportRecord), found
    assert found.sample is not None
    return found.sample


def paths_of(found: ImportRecord | Rejected) -> list[str]:
    return [image.location.path for image in sample_of(found).images]


def test_a_line_of_the_authors_toy_data_is_read() -> None:
    found = parse(EDIT)
    sample = sample_of(found)
    assert (found.file, found.line, sample.key, sample.task) == (
        "lines.jsonl",
        7,
        "image_edit-000000-007",
        "image_edit",
    )
    assert sample.instruction == EDIT["instruction"]
    assert paths_of(found) == ["edit_source_1.png", "edit_target_1.png"]


@pytest.mark.parametrize(
    ("changes", "task", "paths"),
    [
        ({"task_type": "try-on"}, "try_on", ["edit_source_1.png", "edit_target_1.png"]),
        ({"task_type": " Text to iamge "}, "text_to_iamge", ["edit_source_1.png", "edit_target_1.png"]),
        ({"input_images": "edit_source_1.png"}, "image_edit", ["edit_source_1.png", "edit_target_1.png"]),
        ({"output_image": None, "output_images": ["b.png"]}, "image_edit", ["edit_source_1.png", "b.png"]),
        ({"output_image": None, "output_images": "b.png"}, "image_edit", ["edit_source_1.png", "b.png"]),
    ],
)
def test_what_published_files_write_otherwise_is_understood(
    changes: dict[str, object], task: str, paths: list[str]
) -> None:
    found = parse({**EDIT, **changes})
    assert sample_of(found).task == task
    assert paths_of(found) == paths


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
    assert isinstance(found, Rejected)
    assert (found.line, found.reason) == (7, Reason.BAD_RECORD)
    assert words in found.problem


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff\xfe", b'"x"', b"null", b"NaN"])
def test_what_is_no_json_object_is_a_bad_line(text: bytes) -> None:
    assert isinstance(X2IJsonl().line("lines.jsonl", 1, text, FOLDER), Rejected)


def test_lines_without_a_task_take_the_one_given() -> None:
    found = parse({name: value for name, value in EDIT.items() if name != "task_type"}, X2IJsonl(task="edit"))
    assert sample_of(found).task == "edit"


def test_keys_come_back_from_member_names_and_never_twice(tmp_path: Path) -> None:
    lines = [
        {**EDIT, "output_image": f"a/{name}"} for name in ("k-1.output.png", "k-1.output.png", "K.output.png", "x.png")
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    keys = [sample_of(record).key for record in X2IJsonl().records(path)]
    assert keys == ["k-1", "image_edit-000000-002", "image_edit-000000-003", "image_edit-000000-004"]


def test_compressed_files_and_endless_lines_are_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl.gz"
    line = json.dumps(EDIT).encode() + b"\n"
    with gzip.open(path, "wb") as stream:
        stream.write(line + b"x" * (3 * MAX_LINE_BYTES) + b"\n" + line)
    found = list(X2IJsonl().records(path))
    assert [type(entry) for entry in found] == [ImportRecord, Rejected, ImportRecord]
    assert [entry.line for entry in found] == [1, 2, 3]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.png", "a/../../x.png", "..\\x.png", "C:/x.png", "file:///x.png", "a\0.png", ""]
)
def test_a_path_that_leads_outside_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="leads outside"):
        inside(path)
    if path:
        found = parse({**EDIT, "output_image": path})
        assert isinstance(found, Rejected)
        assert found.reason is Reason.FILE_ERROR
        assert "leads outside" in found.problem


def test_an_authors_prefix_is_taken_off() -> None:
    importer = X2IJsonl(strip_prefix="/share/author/x2i")
    assert paths_of(parse({**EDIT, "output_image": "/share/author/x2i/a/b.png"}, importer))[1] == "a/b.png"
    assert paths_of(parse({**EDIT, "output_image": "a/b.png"}, importer))[1] == "a/b.png"
    assert isinstance(parse({**EDIT, "output_image": "/share/author/x2i/../../etc/passwd"}, importer), Rejected)


@pytest.mark.parametrize("path", ["im/./x.png", "im/../im/x.png", "./im/x.png", "im\\..\\im\\x.png"])
def test_a_path_that_stays_inside_is_accepted_however_it_is_written(path: str) -> None:
    assert inside(path) == "im/x.png"


def test_absolute_paths_that_lie_in_the_folder_are_accepted() -> None:
    assert paths_of(parse({**EDIT, "output_image": "/pictures/a/b.png"}))[1] == "a/b.png"
    assert isinstance(parse({**EDIT, "output_image": "/pictures/../secret.png"}), Rejected)
    assert isinstance(parse({**EDIT, "output_image": "/pictures2/a.png"}), Rejected)


def test_a_folder_of_images_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"--images .*nowhere: no such folder"):
        list(X2IJsonl(images=str(tmp_path / "nowhere")).records(tmp_path / "lines.jsonl"))


def test_formats_are_spelled_as_in_shards() -> None:
    def promised(path: str) -> str:
        return SampleKind.of(sample_of(parse({**EDIT, "output_image": path}))).formats[1]

    assert [promised(path) for path in ("a.JPEG", "b.jpg", "c.x.png", "d")] == ["jpg", "jpg", "png", ""]
