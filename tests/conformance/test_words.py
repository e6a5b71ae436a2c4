"""Every place where words may stand: two dozen pictures with known captions keep each its own, from crawl to shard."""

from __future__ import annotations

import csv
import functools
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.engine.options import Executor, RunOptions
from pipelines.engine.run import execute
from pipelines.stages.annotate import AnnotateStage
from pipelines.stages.materialize import MaterializeStage
from tests.support.command_line import typed
from tests.support.crawling import crawl_stage
from x2i.annotate.captions import Captions
from x2i.image import decode, encode
from x2i.store import Dataset
from x2i.store.verify.verify import verify
from x2i.words import CaptionLines

INLINE = RunOptions(executor=Executor.INLINE)
WORDS = [
    *("a photo of <sks> dog on grass", "cat", "1girl, solo, smile", "P-51 Mustang", "\u732b", "<s0><s1> portrait"),
    *("C++ logo & more", "Picture frame", "a sign that reads <OPEN>", "caf\u00e9 &amp; bar", "42", "IMG_2041.jpg"),
    *('He said "hi", twice', "a \U0001f408\u200d\u2b1b on a mat", "5\" wide; 3' high", "a cat, a dog, and a bird"),
    *("na\u00efve | pipe", '["not a list" yet', "\u201cquoted\u201d", "\u00dcber den D\u00e4chern", "1,5 m", "a=b"),
    *("'single'", "back\\slash"),
]
"""What people write: trigger words, one word, tags, other scripts; and what tables quote or separators tear apart."""
COUNT = len(WORDS)


def picture(number: int) -> bytes:
    """A picture that shows its number by its brightness, and has structure."""
    level = 16 + 9 * number
    pixels = np.full((48, 64, 3), level, np.uint8) + np.random.default_rng(number).integers(0, 9, (48, 64, 3))
    return encode(pixels.astype(np.uint8), "png")


def number_of(data: bytes) -> int:
    return round((float(decode(data).mean()) - 20) / 9)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder on this machine; yields its address."""
    folder.mkdir(exist_ok=True)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def files(folder: Path, named: dict[str, bytes | str]) -> None:
    for name, data in named.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())


def shard(path: Path, members: list[tuple[str, bytes | str]]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def sidecars(folder: Path, words: list[str], suffix: str, encoding: str = "utf-8", image: str = ".png") -> str:
    for number, text in enumerate(words):
        said = json.dumps({"caption": text, "n": number}) if suffix.lower() == ".json" else f"{text}\n"
        files(folder, {f"p/{number}{image}": picture(number), f"p/{number}{suffix}": said.encode(encoding)})
    return str(folder / "p")


def beside(name: str, column: str, words: str = "text", stem_only: bool = False) -> Callable[[Path, list[str]], str]:
    def make(folder: Path, texts: list[str]) -> str:
        files(folder, {f"p/train/{number}.png": picture(number) for number in range(COUNT)})
        ending = "" if stem_only else ".png"
        rows = [{column: f"{number}{ending}", words: text} for number, text in reversed(list(enumerate(texts)))]
        path = folder / "p/train" / name
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        return str(folder / "p")

    return make


def documents(name: str, make: Callable[[list[str]], Any]) -> Callable[[Path, list[str]], str]:
    """A JSON document about the images of a folder. make: from the words to what it holds."""

    def write(folder: Path, texts: list[str]) -> str:
        files(folder, {f"p/{number}.png": picture(number) for number in range(COUNT)})
        (folder / "p" / name).write_text(json.dumps(make(texts)))
        return str(folder / "p")

    return write


def coco(texts: list[str]) -> dict[str, Any]:
    images = [{"id": 100 + n, "file_name": f"{n}.png", "license": 2} for n in range(COUNT)]
    notes = [{"id": n, "image_id": 100 + n, "caption": text} for n, text in reversed(list(enumerate(texts)))]
    return {"info": {"year": 2014}, "licenses": [{"id": 2, "name": "CC BY"}], "images": images, "annotations": notes}


def written(name: str, text: Callable[[Path, list[str]], str], encoding: str = "utf-8") -> Callable[..., str]:
    """A text file about the images of a folder, as other programs write it."""

    def write(folder: Path, texts: list[str]) -> str:
        files(folder, {f"p/cats/{number}.png": picture(number) for number in range(COUNT)})
        (folder / "p" / name).write_bytes(text(folder / "p", texts).encode(encoding))
        return str(folder / "p")

    return write


def excel(folder: Path, texts: list[str]) -> str:
    """What spreadsheets save: semicolons, quotes doubled, lines that end as on Windows, paths with backslashes."""
    rows = [f'cats\\{n}.png;"{text.replace(chr(34), chr(34) * 2)}"' for n, text in enumerate(texts)]
    return "\r\n".join(["File Name;Caption", *rows, ""])


def flickr(folder: Path, texts: list[str]) -> str:
    """The lists of Flickr8k and Flickr30k: no header, several captions a picture, which are numbered."""
    return "".join(f"cats/{n}.png#0\t{text}\ncats/{n}.png#1\tanother, longer\n" for n, text in enumerate(texts))


def delimited(header: tuple[str, str], texts: list[str], mark: str = ",") -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=mark).writerows([header, *((f"cats/{n}.png", text) for n, text in enumerate(texts))])
    return stream.getvalue()


def spaced(folder: Path, texts: list[str]) -> str:
    """What people type: a space after each comma, quotes around words."""
    rows = [f'cats/{n}.png, "{text.replace(chr(34), chr(34) * 2)}"' for n, text in enumerate(texts)]
    return "\n".join(["image, text", *rows])


def whole_paths(folder: Path, texts: list[str]) -> str:
    rows = ({"file_name": f"{folder}/cats/{n}.png", "text": text} for n, text in enumerate(texts))
    return "\r\n".join(map(json.dumps, rows))


def url_list(name: str, column: str) -> Callable[[Path, list[str]], str]:
    """A table of URLs in which {site} stands for the address of the server."""

    def make(folder: Path, texts: list[str]) -> str:
        rows = [{"url": f"{{site}}/{number}.png", column: text} for number, text in enumerate(texts)]
        files(folder, {f"site/{number}.png": picture(number) for number in range(COUNT)})
        path = folder / name
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif path.suffix == ".json":
            path.write_text(json.dumps(rows))
        else:
            with path.open("w", newline="", encoding="utf-16") as stream:
                writer = csv.DictWriter(stream, rows[0], delimiter="\t" if path.suffix == ".tsv" else ";")
                writer.writeheader()
                writer.writerows(rows)
        return str(path)

    return make


def with_site(source: str, site: str) -> None:
    """Puts the address of the server into a table of URLs."""
    path = Path(source)
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        pq.write_table(table.set_column(0, "url", pc.replace_substring(table["url"], "{site}", site)), path)
    elif path.is_file() and path.suffix != ".tar":
        encoding = "utf-8" if path.suffix == ".json" else "utf-16"
        path.write_bytes(path.read_bytes().decode(encoding).replace("{site}", site).encode(encoding))


def apart(folder: Path, words: list[str]) -> str:
    pictures = [(f"{number:03}.png", picture(number)) for number in range(COUNT)]
    return shard(folder / "0.tar", [*pictures, *((f"{number:03}.txt", text) for number, text in enumerate(words))])


def captions_first(folder: Path, words: list[str]) -> str:
    texts = [(f"{number:03}.txt", text) for number, text in enumerate(words)]
    return shard(folder / "0.tar", [*texts, *((f"{n:03}.PNG", picture(n)) for n in reversed(range(COUNT)))])


def dotted(folder: Path, words: list[str]) -> str:
    pairs = [((f"22.{n:02}.png", picture(n)), (f"22.{n:02}.txt", text)) for n, text in enumerate(words)]
    return shard(folder / "0.tar", [member for pair in pairs for member in pair])


def several(folder: Path, words: list[str]) -> str:
    names = [f"{n // 3}.{('left', 'mid', 'right')[n % 3]}" for n in range(COUNT)]
    texts = [(f"{name}.txt", text) for name, text in zip(names, words, strict=True)]
    return shard(folder / "0.tar", [*((f"{name}.png", picture(n)) for n, name in enumerate(names)), *texts])


def in_json(folder: Path, words: list[str]) -> str:
    texts = [(f"{n}.json", json.dumps({"prompt": text})) for n, text in enumerate(words)]
    return shard(folder / "0.tar", [*((f"{n}.png", picture(n)) for n in range(COUNT)), *texts])


def other_endings(folder: Path, words: list[str]) -> str:
    endings = ("JPG", "jpeg", "PNG", "webp")
    members = [(f"v1.0/{n}.{endings[n % 4]}", picture(n)) for n in range(COUNT)]
    texts = [(f"v1.0/{n}.{('text', 'TXT', 'caption', 'cap')[n % 4]}", text) for n, text in enumerate(words)]
    return shard(folder / "0.tar", [*texts, *members])


def compound(folder: Path, words: list[str]) -> str:
    texts = [(f"{n}.caption.txt", text) for n, text in enumerate(words)]
    return shard(folder / "0.tar", [*((f"{n}.png", picture(n)) for n in range(COUNT)), *texts])


def twice_the_same_keys(folder: Path, words: list[str]) -> str:
    members = [((f"{n % 12}.png", picture(n)), (f"{n % 12}.txt", text)) for n, text in enumerate(words)]
    return shard(folder / "0.tar", [member for pair in members for member in pair])


PLACES: dict[str, Callable[[Path, list[str]], str]] = {
    **{
        f"sidecar{suffix}": (lambda folder, words, suffix=suffix: sidecars(folder, words, suffix))
        for suffix in (".txt", ".TXT", ".caption", ".cap", ".Cap", ".json", ".JSON", ".png.txt")
    },
    "sidecar in UTF-16": lambda folder, words: sidecars(folder, words, ".txt", "utf-16"),
    "sidecar in UTF-16 without a mark": lambda folder, words: sidecars(folder, words, ".txt", "utf-16-le"),
    "sidecar in UTF-8 with a mark": lambda folder, words: sidecars(folder, words, ".txt", "utf-8-sig"),
    "sidecar in UTF-16, big end first": lambda folder, words: sidecars(folder, words, ".caption", "utf-16-be"),
    "sidecar with lines of Windows": lambda folder, words: sidecars(folder, [f"{text}\r" for text in words], ".txt"),
    "sidecar of .PNG": lambda folder, words: sidecars(folder, words, ".txt", image=".PNG"),
    "metadata.jsonl": beside("metadata.jsonl", "file_name"),
    "metadata.csv": beside("metadata.csv", "file_name", "Prompt"),
    "metadata.parquet": beside("metadata.parquet", "file_name", "caption"),
    "captions.csv": beside("captions.csv", "image", "caption"),
    "data.json, lists of captions": documents(
        "data.json", lambda texts: {"d": [{"file_name": f"{n}.png", "captions": [t]} for n, t in enumerate(texts)]}
    ),
    "captions.json, by file": documents("captions.json", lambda texts: {f"{n}.png": t for n, t in enumerate(texts)}),
    "meta.json, by file": documents(
        "meta.json", lambda texts: {f"./{n}.png": {"tags": "x", "caption": t} for n, t in enumerate(texts)}
    ),
    "meta_cap.json, names without endings": documents(
        "meta_cap.json", lambda texts: {f"{n}": {"tags": "x", "caption": t} for n, t in enumerate(texts)}
    ),
    "labels.csv, names without endings": beside("labels.csv", "id", stem_only=True),
    "metadata.csv with spaces after its commas": written("metadata.csv", spaced),
    "list.json": documents(
        "list.json", lambda texts: [{"image": f"{n}.png", "prompt": t} for n, t in enumerate(texts)]
    ),
    "captions of COCO": documents("captions_train2017.json", coco),
    "metadata.csv of a spreadsheet": written("metadata.csv", excel, "utf-8-sig"),
    "list.tsv in UTF-16": written("list.tsv", lambda _, texts: delimited(("path", "text"), texts, "\t"), "utf-16"),
    "captions.txt, with a header": written("captions.txt", lambda _, texts: delimited(("image", "caption"), texts)),
    "list.tsv without a header": written(
        "list.tsv", lambda _, texts: delimited(("", ""), texts, "\t").partition("\n")[2]
    ),
    "captions.csv without a header": written(
        "captions.csv", lambda _, texts: delimited(("", ""), texts).partition("\n")[2]
    ),
    "results.token of Flickr": written("results.token.txt", flickr),
    "metadata.jsonl with whole paths": written("metadata.jsonl", whole_paths),
    "labels.tsv-like list": beside("list.jsonl", "path", "description"),
    **{f"table, column {name}": url_list("list.json", name) for name in ("prompt", "title", "TEXT", "blip_caption")},
    **{f"table .{kind}": url_list(f"list.{kind}", "Long Caption") for kind in ("csv", "tsv", "parquet")},
    **{
        f"shard, {make.__name__}": make
        for make in (apart, captions_first, dotted, several, other_endings, in_json, compound, twice_the_same_keys)
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_every_caption_arrives_at_its_own_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    dataset = crawled(PLACES[place](tmp_path, WORDS), tmp_path)
    assert made_of(dataset) == dict(enumerate(WORDS)), capsys.readouterr().err
    assert "have no words" not in capsys.readouterr().err


def crawled(source: str, folder: Path) -> Dataset:
    with served(folder / "site") as site:
        with_site(source, site)
        dataset = Dataset.create(folder / "data")
        stage = crawl_stage(sources=(source,), allow_net=("127.0.0.0/8",), contact="me@example.org")
        assert execute([stage], dataset, INLINE)[0].counts.ok == COUNT
    return dataset


def bytes_in_parquet(folder: Path, words: list[str]) -> Path:
    rows = [{"image": {"bytes": picture(n), "path": f"{n}.png"}, "text": text, "n": n} for n, text in enumerate(words)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet", row_group_size=5)
    return folder / "train.parquet"


def binary_column(folder: Path, words: list[str]) -> Path:
    rows = [{"jpg": picture(n), "caption": [text, "another"]} for n, text in enumerate(words)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    return folder / "train.parquet"


IMPORTED: dict[str, Callable[[Path, list[str]], Path]] = {
    "bytes and path in Parquet": bytes_in_parquet,
    "bytes in Parquet, lists of captions": binary_column,
    **{
        f"image folder with {name}": (lambda folder, words, name=name: Path(PLACES[name](folder, words)))
        for name in ("metadata.jsonl", "metadata.csv", "metadata.parquet", "metadata.csv of a spreadsheet")
    },
}


@pytest.mark.parametrize("place", IMPORTED)
def test_every_caption_of_a_hugging_face_dataset_arrives_at_its_own_picture(tmp_path: Path, place: str) -> None:
    source, words = IMPORTED[place](tmp_path, WORDS), dict(enumerate(WORDS))
    assert typed("import", "hf-images", source, "--out", tmp_path / "data", "--executor", "inline") == 0
    dataset = Dataset.open(tmp_path / "data")
    texts = dataset.images(["key", "text"]).to_pylist()
    assert {number_of(dataset.image(row["key"])[1]): row["text"] for row in texts} == words
    assert made_of(dataset) == words


def made_of(dataset: Dataset) -> dict[int, str]:
    """Returns the captions in the dataset's shards by the number that their picture shows."""
    execute([AnnotateStage(Captions())], dataset, INLINE)
    execute([MaterializeStage(recipe="text_to_image")], dataset, INLINE)
    captions = dict(zip(*(dataset.column("captions")[name].to_pylist() for name in ("key", "caption"))))
    shown = {key: number_of(dataset.image(key)[1]) for key in captions}
    said = {number_of(images[-1]): sample.instruction for sample, images in dataset.samples()}
    assert len(said) == COUNT
    by_number = {shown[key]: text for key, text in captions.items()}
    for number, text in by_number.items():  # in the middle of a sentence the first letter is small
        assert text.casefold() in said[number].casefold()
    return by_number


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"p/a.png": picture(0), "p/a.text": "x"}, "1 image has no words beside them"),
        (
            {"p/a.png": picture(0), "p/b.txt": "words"},
            "1 caption file lies beside no image of its name, such as b",
        ),
        ({"p/a.png": picture(0), "p/a.json": '{"x": "words"}'}, "has no field of captions among x"),
        ({"p/a.png": picture(0), "p/m.csv": "file_name,x\na.png,w\n"}, "no column of captions among x"),
        (
            {"p/a.png": picture(0), "p/m.csv": "file_name,text\nb.png,w\n"},
            "names a file that is not there, such as 'b",
        ),
        ({"p/a.png": picture(0), "p/m.csv": "file_name,text\na.png,w\na.png,v\n"}, "names an image again"),
        ({"p/a.png": picture(0), "p/m.csv": "url,text\nhttp://a.example/1.jpg,w\n"}, "names none of them"),
        ({"p/a.png": picture(0), "p/a.txt": "caf\u00e9".encode("cp1252")}, "read as Windows-1252"),
        ({"p/a.png": picture(0), "p/a.txt": "one\ntwo"}, "has several lines: all are one caption"),
        (
            {"p/a.png": picture(0), "p/a.json": '{"captions": ["x", "y"]}'},
            "caption is the first of a list in 'captions'",
        ),
        (
            {"p/a.png": picture(0), "p/a.json": '{"text": "x", "caption": "y"}'},
            "not from other fields that hold words: 'c",
        ),
        (
            {"p/a.png": picture(0), "p/a.json": '{"meta": {"caption": {"en": "x"}}}'},
            "the field 'meta.caption' of objects",
        ),
        (
            {"p/a.png": picture(0), "p/a.txt": "x", "p/a.caption": "y"},
            "comes from .txt and not from other words for its",
        ),
        (
            {"p/a.png": picture(0), "p/a.txt": "x", "p/m.csv": "image,text\na.png,y\n"},
            "other words for its image in m.",
        ),
        ({"p/a.png": picture(0), "p/a.jpg": picture(1), "p/a.txt": "x"}, "2 images share a caption file"),
        ({"p/a.png": picture(0), "p/a.json": '{"title": "a.png"}'}, "has no field of captions among title"),
        ({"p/a.png": picture(0), "p/m.csv": "file_name,text\na.png,a cat, lying\n"}, "a separator or quote too many"),
        ({"p/a.png": picture(0), "p/m.csv": 'file_name,text\na.png,"x" said\n'}, "a separator or quote too many"),
        (
            {"p/a.png": picture(0), "p/m.csv": "file_name,text\na.png,caf\u00e9\n".encode("cp1252")},
            "read as Windows-1252",
        ),
        ({"p/a.png": picture(0), "p/m.csv": "file_name,text\nC:\\\\p\\\\a.png,x\n"}, "names a file that is not there"),
        ({"p/a.png": picture(0), "p/m.csv": "file_name,text,text\na.png,x,y\n"}, "'text' stands there twice"),
        ({"p/a.png": picture(0), "p/b.json": '{"caption": "x"}'}, "lies beside no image of its name, such as b.json"),
    ],
)
def test_words_that_do_not_arrive_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: dict[str, bytes | str], told: str
) -> None:
    files(tmp_path, named)
    execute([crawl_stage(sources=(str(tmp_path / "p"),))], Dataset.create(tmp_path / "data"), INLINE)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([("a.png", picture(0))], "1 image in shards has no words"),
        ([("a.png", picture(0)), ("a.notes.txt", "x")], "belongs to no image of its sample, such as a.notes.txt"),
        ([("a.1.png", picture(0)), ("a.2.png", picture(1)), ("a.txt", "x")], "2 images in shards share the words"),
        ([("a.png", picture(0)), ("a.txt", "x"), ("a.json", '{"caption": "y"}')], "comes from .txt and not from other"),
        ([("a.png", picture(0)), ("a.txt", "x"), ("a.png", picture(1)), ("a.txt", "y")], "has a key that came before"),
    ],
)
def test_words_in_shards_that_do_not_arrive_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], members: list[tuple[str, bytes | str]], told: str
) -> None:
    source = shard(tmp_path / "0.tar", members)
    execute([crawl_stage(sources=(source,))], Dataset.create(tmp_path / "data"), INLINE)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("lines", ["all", "first", "one"])
def test_lines_of_a_caption_file_are_chosen_as_asked(tmp_path: Path, lines: str) -> None:
    texts = [f"first of {n}\n\nsecond of {n}\nthird of {n}" for n in range(COUNT)]
    source = sidecars(tmp_path, texts, ".txt")
    dataset = Dataset.create(tmp_path / "data")
    execute([crawl_stage(sources=(source,), caption_lines=CaptionLines(lines))], dataset, INLINE)
    said = dataset.images(["url", "text"]).to_pylist()
    chosen = {row["text"].partition(" ")[0] for row in said}
    if lines == "all":
        assert {row["text"] for row in said} == set(texts)
    else:
        assert chosen == ({"first"} if lines == "first" else {"first", "second", "third"})


def test_corrected_added_and_removed_words_replace_the_old_and_nothing_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, data = sidecars(tmp_path, WORDS[:6], ".txt"), str(tmp_path / "data")
    (tmp_path / "p/5.txt").unlink()

    def crawl() -> tuple[str, list[str]]:
        assert typed("crawl", source, "--out", data, "--executor", "inline") == 0
        texts = Dataset.open(data).images(["url", "text"]).to_pylist()
        return capsys.readouterr().err, [row["text"] for row in sorted(texts, key=lambda row: row["url"])]

    crawl()
    before = (tmp_path / "data/images/00000.tar").stat().st_mtime_ns
    (tmp_path / "p/1.txt").write_text("corrected")
    (tmp_path / "p/2.txt").unlink()
    (tmp_path / "p/5.txt").write_text("added")
    told, texts = crawl()
    assert "3 images have other words now" in told
    assert texts == [WORDS[0], "corrected", "", WORDS[3], WORDS[4], "added"]
    assert (tmp_path / "data/images/00000.tar").stat().st_mtime_ns == before
    (tmp_path / "p/1.txt").write_text(WORDS[1])
    assert crawl()[1][1] == WORDS[1]
    assert "updated" not in crawl()[0]


def test_what_was_made_of_words_corrected_since_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, data = sidecars(tmp_path, WORDS[:6], ".txt"), str(tmp_path / "data")
    caption = ("caption", data, "--executor", "inline")
    materialize = ("materialize", data, "--recipe", "text_to_image", "--executor", "inline")

    def outdated() -> list[str]:
        verified = verify(data)
        assert verified.ok
        assert typed("report", data, "--html", str(tmp_path / "report.html")) == 0
        shown = (capsys.readouterr().out, (tmp_path / "report.html").read_text())
        for text in shown:
            assert all(stage.command in text for stage in verified.outdated)
            assert ("changed since" in text) == bool(verified.outdated)
        return [stage.stage for stage in verified.outdated]

    score = ("filter", data, "--score", "flatness", "--executor", "inline")  # reads pixels alone
    for command in (("crawl", source, "--out", data, "--executor", "inline"), score, caption, materialize):
        assert typed(*command) == 0
    assert outdated() == []
    (tmp_path / "p/1.txt").write_text("corrected")
    assert typed("crawl", source, "--out", data, "--executor", "inline") == 0
    assert outdated() == ["captions", "materialize-text_to_image"]
    assert typed(*score) == 0  # still done
    assert typed(*caption) == typed(*materialize) == 2  # refused; planning anew made nothing fresh
    assert outdated() == ["captions", "materialize-text_to_image"]
    assert typed(*caption, "--overwrite") == 0
    assert outdated() == ["materialize-text_to_image"]
    assert typed(*materialize, "--overwrite") == 0
    assert outdated() == []
