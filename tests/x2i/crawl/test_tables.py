"""Tables that are not what they seem end in a message that says how to mend them."""

from __future__ import annotations

from pathlib import Path

import pytest

from x2i.crawl.sources import SourceKind, TableColumns, kind_of, read_table, source_digest
from x2i.errors import UserError


def _write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_columns_are_found_by_their_usual_names_in_any_case(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "TEXT,URL,License\nhello,http://a.example/1.jpg,CC0\n")
    [row] = read_table(path)
    assert (row.url, row.text, row.licence) == ("http://a.example/1.jpg", "hello", "CC0")


def test_a_misspelt_column_gets_a_suggestion(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "link,caption\nx,y\n")
    with pytest.raises(UserError, match=r"--text-col 'captoin'.*link, caption.*did you mean 'caption'"):
        list(read_table(path, TableColumns(text="captoin")))


def test_a_table_without_urls_says_which_option_helps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--url-col"):
        list(read_table(_write(tmp_path / "t.csv", "a,b\n1,2\n")))


def test_a_bad_line_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2 is not JSON"):
        list(read_table(_write(tmp_path / "t.jsonl", '{"url": "x"}\n{"url": \n')))
    with pytest.raises(UserError, match="item 2: expected a JSON object, found str"):
        list(read_table(_write(tmp_path / "t.json", '[{"url": "x"}, "y"]')))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv.gz", "t.csv"])
def test_a_file_of_another_kind_is_an_error_of_the_user(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be read as"):
        list(read_table(_write(tmp_path / name, b"\xff\xfe\x00garbage" * 10)))


def test_a_list_of_lines_skips_blanks_and_remarks(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.txt", "# photographs\n\nhttp://a.example/1.jpg\r\n  http://a.example/2.jpg \n")
    assert [row.url for row in read_table(path)] == ["http://a.example/1.jpg", "http://a.example/2.jpg"]


def test_quoted_cells_may_hold_line_breaks_and_rows_may_be_short(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", 'url,text\nhttp://a.example/1.jpg,"two\nlines"\nhttp://a.example/2.jpg\n,none\n')
    assert [(row.url, row.text) for row in read_table(path)] == [
        ("http://a.example/1.jpg", "two\nlines"),
        ("http://a.example/2.jpg", ""),
        ("", "none"),
    ]


def test_sources_are_told_apart_by_looking(tmp_path: Path) -> None:
    table, page = _write(tmp_path / "urls.csv.gz", b""), _write(tmp_path / "p.html", b"")
    assert kind_of("https://a.example/gallery") is SourceKind.WEB_PAGE
    assert kind_of(str(table)) is SourceKind.TABLE
    assert kind_of(str(page)) is SourceKind.LOCAL_PAGE
    assert kind_of(str(tmp_path)) is SourceKind.FOLDER
    with pytest.raises(UserError, match="no such file"):
        kind_of("nowhere.csv")
    with pytest.raises(UserError, match="unknown kind '.xyz'"):
        kind_of(str(_write(tmp_path / "a.xyz", b"")))


def test_a_folder_digest_changes_with_images_and_captions(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    _write(folder / "a.jpg", b"1")
    first = source_digest(str(folder))
    assert source_digest(str(folder)) == first
    _write(folder / "a.txt", "a caption")
    second = source_digest(str(folder))
    _write(folder / "b.jpg", b"2")
    assert len({first, second, source_digest(str(folder))}) == 3
