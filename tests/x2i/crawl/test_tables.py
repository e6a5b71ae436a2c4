"""Tables that are not what they seem: the right rows, or a message that says how to mend them."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from x2i.crawl.sources import kind_of, open_source
from x2i.crawl.sources.folder import FolderSource
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import TableOptions
from x2i.crawl.sources.tables.table import TableSource
from x2i.errors import UserError

ONE, TWO = "http://a.example/1.jpg", "http://a.example/2.jpg"


def _write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(source: str, bad: int = 0, notes: PlanningNotes | None = None, **columns: Any) -> list[dict[str, str]]:
    """The rows of a table source, each as its fields."""
    options = TableOptions(**columns, skip_bad_lines=bad)
    tables = TableSource(source, options).rows(notes or PlanningNotes())
    return [row for table in tables for row in table.to_pylist()]


def urls(source: str, **options: Any) -> list[str]:
    return [row["url"] for row in read(source, **options)]


def pairs(source: str, **options: Any) -> list[tuple[str, str]]:
    return [(row["url"], row["text"]) for row in read(source, **options)]


@contextlib.contextmanager
def refused(*words: str) -> Iterator[None]:
    """Expects an error of the user whose message holds every one of `words`."""
    with pytest.raises(UserError) as caught:
        yield
    for word in words:
        assert word in str(caught.value)


def test_columns_are_found_by_their_usual_names_in_any_case(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", f"TEXT,URL,License\nhello,{ONE},CC0\n")
    [row] = read(path)
    assert (row["url"], row["text"], row["license"]) == (ONE, "hello", "CC0")


def test_a_column_that_is_named_in_another_case_is_taken_if_there_is_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", f"Where,Said,Note,note\n{ONE},hello,a,b\n")
    [row] = read(path, url_col="WHERE", text_col="said", keep_col=("Note",))
    assert (row["url"], row["text"], json.loads(row["extra"])) == (ONE, "hello", {"Note": "a"})
    with refused("--keep-col 'NOTE'", "no such column", "Where, Said, Note, note"):
        read(path, url_col="Where", keep_col=("NOTE",))


def test_blank_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.csv", "\n  \nurl;text\nhttp://a/1;one\n\nhttp://a/2;two\n")
    assert pairs(source) == [("http://a/1", "one"), ("http://a/2", "two")]


def test_a_misspelt_column_gets_a_suggestion(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "link,caption\nx,y\n")
    with refused("t.csv", "--text-col 'captoin'", "link, caption", "did you mean 'caption'"):
        read(path, text_col="captoin")


@pytest.mark.parametrize("body", ["1,2\n", ""])
def test_a_table_without_urls_says_which_option_helps_even_if_it_has_no_rows(tmp_path: Path, body: str) -> None:
    with refused("no column of URLs among a, b", "--url-col"):
        read(_write(tmp_path / "t.csv", f"a,b\n{body}"))


def test_a_table_of_files_says_to_crawl_its_folder(tmp_path: Path) -> None:
    with refused("no column of URLs", "'image_path' names files of this machine, crawl the folder"):
        read(_write(tmp_path / "t.csv", "image_path,prompt\nim/a.jpg,words\n"))


def test_a_table_without_a_header_says_so(tmp_path: Path) -> None:
    with refused("the first line must name the columns"):
        read(_write(tmp_path / "t.csv", f"{ONE},a photograph\n{TWO},another\n"))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json", "t.txt", "t.csv.gz"])
def test_an_empty_table_has_no_rows(tmp_path: Path, name: str) -> None:
    assert read(_write(tmp_path / name, gzip.compress(b"") if name.endswith(".gz") else b"")) == []


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert read(_write(tmp_path / "t.csv", "url,text\n")) == []
    pq.write_table(pa.table({"url": pa.array([], pa.string())}), tmp_path / "t.parquet")
    assert read(str(tmp_path / "t.parquet")) == []


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", gzip.compress(b"url\n", mtime=0), ("compressed by gzip", "add .gz")),
        ("t.csv", b"PK\x03\x04rest", ("Excel", "save it as CSV")),
        ("t.csv", b"\xd0\xcf\x11\xe0rest", ("Excel",)),
        ("t.csv", b"PAR1rest", ("name it .parquet",)),
        ("t.txt", b"\n<!DOCTYPE html><html>", ("an HTML page",)),
        ("t.csv.gz", b"url\nhttp://a.example/1.jpg\n", ("cannot be read as csv",)),
        ("t.parquet", b"url\nhttp://a.example/1.jpg\n", ("cannot be read as parquet",)),
        ("t.parquet", b"", ("cannot be read as parquet",)),
        ("t.jsonl", b'[{"url": "http://a.example/1.jpg"}]\n', ("name it .json",)),
        ("t.jsonl", b"[\n{}]", ("name it .json",)),
        ("t.json", b'{"url": "http://a.example/1.jpg"}\n', ("name it .jsonl",)),
        ("t.txt", b"a photograph\nanother\n", ("'a photograph'", "one URL per line")),
        ("t.csv", b"image,text\n17,a\n18,b\n", ("'17'", "--url-col")),
        ("t.csv", b"url,url,text\na,b,c\n", ("'url' stands there twice",)),
        ("t.csv", "url,text\n".encode("utf-16-le"), ("line 1 holds a NUL byte", "byte order mark")),
        ("t.csv", b"\xff\xfe\x00garbage" * 10, ("t.csv",)),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_remedy(
    tmp_path: Path, name: str, data: bytes, words: tuple[str, ...]
) -> None:
    with refused(name, *words):
        read(_write(tmp_path / name, data))


def test_truncated_files_are_errors_and_never_shorter_lists(tmp_path: Path) -> None:
    lines = "".join(f"http://a.example/{n * 7919}.jpg\n" for n in range(1000))
    with refused("t.txt.gz", "ends in the middle of its compressed data"):
        read(_write(tmp_path / "t.txt.gz", gzip.compress(lines.encode())[:-700]))
    with refused("t.json", "item 2 is not JSON"):
        read(_write(tmp_path / "t.json", f'[{{"url": "{ONE}"}}, {{"url": "{TWO}'))
    with refused("t.json", "after item 1", "the end of the file"):
        read(_write(tmp_path / "t.json", f'[{{"url": "{ONE}"}}'))
    sink = io.BytesIO()
    pq.write_table(pa.table({"url": [ONE] * 1000}), sink)
    with refused("t.parquet", "cannot be read as parquet"):
        read(_write(tmp_path / "t.parquet", sink.getvalue()[:-20]))
    damaged = bytearray(sink.getvalue())
    damaged[4:60] = bytes(56)
    with refused("t.parquet", "cannot be read as parquet"):
        read(_write(tmp_path / "t.parquet", bytes(damaged)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_of_other_systems_give_the_same_rows(tmp_path: Path, encoding: str, end: str) -> None:
    text = f"url,text{end}{ONE},caf\u00e9{end}{TWO},\u6771\u4eac"
    assert pairs(_write(tmp_path / "t.csv", text.encode(encoding))) == [(ONE, "caf\u00e9"), (TWO, "\u6771\u4eac")]


def test_text_of_an_unknown_encoding_is_named_by_its_line(tmp_path: Path) -> None:
    rows = f"url,text\n{ONE},plain\n{TWO},caf\u00e9\n"
    with refused("t.csv", "line 3 is not UTF-8", "iconv"):
        read(_write(tmp_path / "t.csv", rows.encode("latin-1")))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators_are_told_from_the_header(tmp_path: Path, mark: str) -> None:
    path = _write(tmp_path / "t.csv", f"url{mark}text\n{ONE}{mark}a, b\n")
    assert pairs(path) == [(ONE, "a, b")]


def test_the_separator_that_excel_announces_is_obeyed(tmp_path: Path) -> None:
    assert pairs(_write(tmp_path / "t.csv", f"sep=;\nurl;text\n{ONE};a\n")) == [(ONE, "a")]


def test_quoted_cells_may_hold_line_breaks_and_rows_may_be_short(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", f'url,text\n{ONE},"two\nlines ""quoted"""\n{TWO}\n,none\n\n{ONE},a,,\n')
    assert pairs(path) == [(ONE, 'two\nlines "quoted"'), (TWO, ""), ("", "none"), (ONE, "a")]


def test_quotes_are_characters_in_tsv(tmp_path: Path) -> None:
    assert pairs(_write(tmp_path / "t.tsv", f'url\ttext\n{ONE}\t"half open\n')) == [(ONE, '"half open')]


def test_a_list_of_lines_skips_blanks_and_remarks(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.txt", f"# photographs\n\n{ONE}\r\n  {TWO} \n")
    assert urls(path) == [ONE, TWO]


@pytest.mark.parametrize("after", ['"b"', "b", ""])
def test_a_quote_left_open_costs_its_own_line_alone(tmp_path: Path, after: str) -> None:
    rows = f'{TWO},{after}\n{TWO},"two\nlines"\n{TWO},end\n'
    path = _write(tmp_path / "t.csv", f'url,text\n{ONE},"open\n{rows}')
    notes = PlanningNotes()
    assert pairs(path, bad=1, notes=notes) == [(TWO, after.strip('"')), (TWO, "two\nlines"), (TWO, "end")]
    [(_, where, _)] = notes.bad_lines
    assert where == "line 2"


def test_a_quote_left_open_near_the_end_loses_nothing_after_it(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", f'url,text\n{ONE},"open\n' + f"{TWO},c\n" * 3)
    notes = PlanningNotes()
    assert pairs(path, bad=1, notes=notes) == [(TWO, "c")] * 3
    assert "is a quote left open?" in notes.bad_lines[0][2]


BAD_LINES = {
    "t.csv": (f"url,text\n{ONE},a, b\n{TWO},c\n", "line 2 has 3 cells, the header 2"),
    "quote.csv": (f'url,text\n{ONE},"a"b\n{TWO},c\n', "line 2 cannot be read"),
    "nul.csv": (f"url,text\n{ONE},a\0\n{TWO},c\n", "line 2 holds a NUL byte"),
    "t.tsv": (f"url\ttext\n{ONE}\ta\tb\n{TWO}\tc\n", "line 2 has 3 cells"),
    "t.jsonl": (f'{{"url": "{ONE}"\n{{"url": "{TWO}", "text": "c"}}\n', "line 1 is not JSON"),
    "list.jsonl": (f'{{"url": ["{ONE}"]}}\n{{"url": "{TWO}", "text": "c"}}\n', "line 1 holds a list where text"),
    "digits.jsonl": (f'{{"url": {"9" * 5000}}}\n{{"url": "{TWO}", "text": "c"}}\n', "line 1 is not JSON"),
    "t.json": (f'["y", {{"url": "{TWO}", "text": "c"}}]', "item 1 is not a JSON object but text"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_named_and_can_be_passed_over(tmp_path: Path, name: str) -> None:
    text, message = BAD_LINES[name]
    path = _write(tmp_path / name, text)
    with refused(name, message, "--skip-bad-lines"):
        read(path)
    notes = PlanningNotes()
    assert pairs(path, bad=1, notes=notes) == [(TWO, "c")]
    [(file, where, why)] = notes.bad_lines
    assert file == path
    assert f"{where} {why}".startswith(message)
    assert "1 line was skipped" in notes.summary()


def test_an_open_quote_that_swallows_the_rest_is_explained(tmp_path: Path) -> None:
    with refused("is a quote left open?"):
        read(_write(tmp_path / "t.csv", f'url,text\n{ONE},"open\n' + f"{TWO},b\n" * 10_000))


def test_more_bad_lines_than_allowed_end_the_planning(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.jsonl", f'{{"url": "{ONE}"}}\n' + "{\n" * 3)
    assert urls(path, bad=3) == [ONE]
    with refused("line 4 is not JSON"):
        read(path, bad=2)


def test_json_values_of_all_kinds_become_text(tmp_path: Path) -> None:
    rows = [
        {"url": ONE, "text": ["", "first of several"]},
        {"text": None, "url": f" {TWO} "},
        {"url": None, "text": 3.5},
        {"url": ONE, "text": "half \ud800 a pair", "more": {"deep": [1, {"x": "\udc00"}]}},
    ]
    for name, text in {
        "t.json": "\n" + json.dumps(rows, indent=3),
        "t.jsonl": "\n".join(map(json.dumps, rows)) + '\n\n{"url": NaN}',
    }.items():
        found = read(_write(tmp_path / name, text), keep_col=("more",))
        assert [row["url"] for row in found[:4]] == [ONE, TWO, "", ONE]
        assert [row["text"] for row in found[:4]] == ["first of several", "", "3.5", "half \ufffd a pair"]
        assert json.loads(found[3]["extra"]) == {"more": {"deep": [1, {"x": "\ufffd"}]}}
        assert json.loads(found[0]["extra"]) == {"more": None}


def test_a_long_json_list_is_read_piece_by_piece(tmp_path: Path) -> None:
    count, long = 60_000, "x" * 3_000_000
    items = [f'{{"url": "http://a.example/{n}.jpg", "text": "no. {n} ]}} \\""}}' for n in range(count)]
    items[7] = json.dumps({"url": ONE, "text": long})
    path = _write(tmp_path / "t.json", f"[{' , '.join(items)}\n]\n")
    found = read(path)
    assert len(found) == count
    assert found[7]["text"] == long
    assert found[-1]["text"] == f'no. {count - 1} ]}} "'
    with refused("more stands after the end"):
        read(_write(tmp_path / "t.json", f'[{{"url": "{ONE}"}}] []'))
    with refused("after item 1: expected , or ] and found '{'"):
        read(_write(tmp_path / "t.json", f'[{{"url": "{ONE}"}} {{}}]'))


def test_a_huge_cell_is_kept_whole_and_a_line_without_end_is_refused(tmp_path: Path) -> None:
    text = "long " * 20_000
    assert pairs(_write(tmp_path / "t.csv", f"url,text\n{ONE},{text}\n")) == [(ONE, text.strip())]
    with refused("line 2 is longer than 16 MB"):
        read(_write(tmp_path / "t.jsonl", f'{{"url": "{ONE}"}}\n' + "x" * 17 * 2**20))


PARQUET_COLUMNS: dict[str, pa.Array] = {
    "string": pa.array([ONE, None, f" {TWO} "]),
    "large": pa.array([ONE, None, TWO], pa.large_string()),
    "view": pa.array([ONE, None, TWO], pa.string_view()),
    "dictionary": pa.array([ONE, None, TWO]).dictionary_encode(),
    "binary": pa.array([ONE.encode(), None, TWO.encode()]),
}


@pytest.mark.parametrize("kind", PARQUET_COLUMNS)
def test_parquet_text_of_every_type_is_read(tmp_path: Path, kind: str) -> None:
    column = PARQUET_COLUMNS[kind]
    pq.write_table(pa.table({"url": column, "caption": column}), tmp_path / "t.parquet")
    assert pairs(str(tmp_path / "t.parquet")) == [(ONE, ONE), ("", ""), (TWO, TWO)]


def test_parquet_columns_of_other_types_are_read_or_named(tmp_path: Path) -> None:
    columns = {
        "url": [ONE, TWO],
        "caption": pa.array([["", "one of two"], []], pa.list_(pa.string())),
        "license": pa.array([b"\xff\xfe", None]),
        "when": [datetime.datetime(2024, 5, 1), None],
        "score": [float("nan"), 0.5],
        "box": [{"x": 1, "y": [2]}, None],
        "nothing": pa.nulls(2),
        "big": [2**40, 7],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    first, second = read(str(tmp_path / "t.parquet"), keep_col=("when", "score", "box", "big", "nothing"))
    assert (first["text"], second["text"]) == ("one of two", "")
    assert first["license"] == "\ufffd\ufffd"
    extra = {"when": "2024-05-01 00:00:00", "score": "nan", "box": {"x": 1, "y": [2]}, "big": 2**40, "nothing": None}
    assert json.loads(first["extra"]) == extra
    assert read(str(tmp_path / "t.parquet"), text_col="nothing")[0]["text"] == ""
    assert read(str(tmp_path / "t.parquet"), text_col="score")[0]["text"] == ""
    for option, name in (("url", "box"), ("text", "box"), ("url", "caption")):
        with refused(f"column '{name}' holds", f"--{option}-col"):
            columns_asked: dict[str, Any] = {f"{option}_col": name}
            read(str(tmp_path / "t.parquet"), **columns_asked)


def test_several_tables_are_one_source_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    (folder / "deep").mkdir(parents=True)
    (folder / "_temporary").mkdir()
    pq.write_table(pa.table({"url": [ONE]}), folder / "b.parquet")
    _write(folder / "deep" / "c.csv", f"url\n{TWO}\n")
    _write(folder / "a.jsonl.gz", gzip.compress(b'{"url": "http://a.example/0.jpg"}'))
    _write(folder / "README.txt", "what these tables are")
    _write(folder / "_temporary" / "0.csv", "url\nx\n")
    every = ["http://a.example/0.jpg", ONE, TWO]
    for source, found in {
        str(folder): every,
        folder.as_uri(): every,
        f"{folder}/*.parquet": [ONE],
        f"{folder}/**/*.csv": [TWO],
        f"{folder}/[ab]*": every[:2],
        (folder / "b.parquet").as_uri(): [ONE],
    }.items():
        assert kind_of(source).title == "table", source
        assert urls(source) == found, source
    with refused("no table matches"):
        read(f"{folder}/*.tsv")
    before = open_source(str(folder)).digest()
    _write(folder / "deep" / "d.csv", f"url\n{TWO}\n")
    assert open_source(str(folder)).digest() != before


def test_tables_of_several_files_name_the_one_that_is_wrong(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", f"url\n{ONE}\n")
    _write(tmp_path / "b.csv", "link-to-image\nx\n")
    with refused("b.csv", "no column of URLs among link-to-image"):
        read(f"{tmp_path}/*.csv")


def test_sources_are_told_apart_by_looking(tmp_path: Path) -> None:
    table, page = _write(tmp_path / "urls.csv.gz", b""), _write(tmp_path / "p.html", b"")
    assert kind_of("https://a.example/gallery").title == "web page"
    assert kind_of("https://a.example/lists/urls.csv.gz?token=1").title == "table"
    assert kind_of("https://a.example/index.html?list=urls.csv").title == "web page"
    assert kind_of(table).title == "table"
    assert kind_of(page).title == "saved page"
    photos = tmp_path / "photos"
    photos.mkdir()
    _write(photos / "a.txt", "a caption")
    _write(photos / "list.csv", f"url\n{ONE}\n")
    assert kind_of(str(photos)).title == "table"
    _write(photos / "a.jpg", b"")
    assert kind_of(str(photos)).title == "folder of images"
    assert kind_of(f"{photos}/*.csv").title == "table"
    with refused("no such file"):
        kind_of("nowhere.csv")
    with refused("unknown kind '.xyz'"):
        kind_of(_write(tmp_path / "a.xyz", b""))


def test_a_folder_digest_changes_with_images_and_captions(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    _write(folder / "a.jpg", b"1")
    first = FolderSource(str(folder)).digest()
    assert FolderSource(str(folder)).digest() == first
    _write(folder / "a.txt", "a caption")
    second = FolderSource(str(folder)).digest()
    _write(folder / "b.jpg", b"2")
    assert len({first, second, FolderSource(str(folder)).digest()}) == 3
