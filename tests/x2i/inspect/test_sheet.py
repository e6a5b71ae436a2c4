"""Contact sheets: deterministic, right for any number of inputs and shape, and honest about what does not decode."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from x2i.errors import UserError
from x2i.image import encode
from x2i.inspect.palette import BADGES, LIGHT
from x2i.inspect.sheet import glyphs
from x2i.inspect.sheet.glyphs import typeface
from x2i.inspect.sheet.images import choose_images, image_records, write_image_sheet
from x2i.inspect.sheet.samples import MARGIN, TILE, WIDTH, draw_sheet, write_sheet
from x2i.inspect.sheet.text_drawing import Font, ImageBadge, Paragraph
from x2i.inspect.target import open_target, select_samples
from x2i.sample import Lineage, RecipeStamp, Sample, placeholder
from x2i.store import Dataset
from x2i.store.files.tar import list_members
from x2i.store.shards import EncodedImage, training_shard


def colors(sheet: Image.Image) -> set[str]:
    pixels = np.asarray(sheet).reshape(-1, 3)
    packed = np.unique(pixels[:, 0].astype(int) << 16 | pixels[:, 1].astype(int) << 8 | pixels[:, 2])
    return {f"#{value:06x}" for value in packed}


def synthetic(root: Path, inputs: int, size: tuple[int, int], instruction: str = "") -> Path:
    """A shard of one sample with `inputs` images of one size (width, height)."""
    width, height = size
    image = EncodedImage(encode(np.full((height, width, 3), 90, np.uint8), "png"), "png")
    marks = " ".join(placeholder(k) for k in range(1, inputs + 1))
    source = Lineage(("u",), ("https://a.example",), ("",))
    text = instruction or f"Do {marks} now"
    sample = Sample("k", "shape", text, (size,) * (inputs + 1), source, RecipeStamp("shape", 1), {})
    with training_shard(root, f"shape-{inputs}in-00000") as writer:
        writer.add(sample, [image] * inputs, image)
    return root / f"shards/shape-{inputs}in-00000.tar"


def test_the_same_dataset_gives_the_same_sheet(dataset: Dataset, tmp_path: Path) -> None:
    selection = select_samples(open_target(dataset.root), None, 2)
    for name in ("a.png", "b.png"):
        write_sheet(selection, tmp_path / name, "small")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").width == WIDTH


@pytest.mark.parametrize("inputs", range(9))
@pytest.mark.parametrize("size", [(64, 64), (600, 20), (20, 600), (1, 1)])
def test_any_number_of_inputs_and_any_shape_fits(tmp_path: Path, inputs: int, size: tuple[int, int]) -> None:
    sheet = draw_sheet(select_samples(open_target(synthetic(tmp_path, inputs, size)), None, 1), "shapes")
    assert sheet.width == WIDTH
    found = colors(sheet)
    assert [badge in found for badge in BADGES] == [number < inputs for number in range(len(BADGES))]
    right_margin = np.asarray(sheet)[:, WIDTH - MARGIN + 2 :]
    assert (right_margin == right_margin[0, 0]).all(), "something was drawn over the margin"


def test_a_long_instruction_is_cut_and_makes_the_row_no_higher_than_nine_lines(tmp_path: Path) -> None:
    tar = synthetic(tmp_path, 0, (64, 64), "a very long caption " * 400)
    assert draw_sheet(select_samples(open_target(tar), None, 1), "long").height < 3 * TILE + 300


def test_an_image_that_does_not_decode_is_shown_as_such(dataset: Dataset, tmp_path: Path) -> None:
    tar = synthetic(tmp_path, 1, (64, 64))
    healthy = colors(draw_sheet(select_samples(open_target(tar), None, 1), "x"))
    member = next(member for member in list_members(tar) if member.suffix == "output.png")
    data = bytearray(tar.read_bytes())
    data[member.offset : member.offset + 20] = b"\0" * 20
    tar.write_bytes(data)
    assert LIGHT.failed in colors(draw_sheet(select_samples(open_target(tar), None, 1), "x")) - healthy


def test_a_sheet_in_a_format_that_is_none_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a name that ends in \.png"):
        write_sheet(select_samples(open_target(dataset.root), None, 1), tmp_path / "sheet.pdf", "x")


def test_an_image_store_gives_a_grid_with_lost_images_in_their_colors(dataset: Dataset, tmp_path: Path) -> None:
    write_image_sheet(open_target(dataset.root), tmp_path / "all.png", "images", 48)
    found = colors(Image.open(tmp_path / "all.png").convert("RGB"))
    assert {LIGHT.ok, LIGHT.filtered, LIGHT.failed} <= found
    write_image_sheet(open_target(dataset.root / "images/00000.tar"), tmp_path / "one.png", "one", 4)
    assert Image.open(tmp_path / "one.png").height < Image.open(tmp_path / "all.png").height


def test_lost_images_never_crowd_out_the_kept_ones(dataset: Dataset) -> None:
    records = image_records(open_target(dataset.root))
    chosen = choose_images(records, 8)
    assert [str(record.status) for record in chosen].count("ok") == 6
    assert len(choose_images(records, 100)) == 15


def test_text_is_wrapped_to_its_width_and_badges_stay_with_their_comma() -> None:
    font = Font(20)
    text = f"Take {placeholder(1)}, then {placeholder(2)}. " + "word " * 30 + "x" * 200
    paragraph = Paragraph(text, font, 300)
    for line in paragraph.lines:
        wide = sum(sum(font.width(piece) for piece in word) for word in line) + font.width(" ") * (len(line) - 1)
        assert wide <= 300
    words = [word for line in paragraph.lines for word in line]
    assert (ImageBadge(1), ",") in words
    assert (ImageBadge(2), ".") in words
    assert "".join(p for word in words for p in word if isinstance(p, str)).count("x") == 200


def test_a_name_that_is_too_wide_loses_its_middle() -> None:
    font, name = Font(14), f"{'a' * 90}.final.png"
    shown = font.fitted(name, 150)
    assert font.width(shown) <= 150 < font.width(name)
    assert shown.startswith("aaa")
    assert shown.endswith(".png")
    assert font.fitted("short.png", 150) == "short.png"


def written(text: str) -> bytes:
    image = Image.new("L", (400, 40))
    Font(20).draw(ImageDraw.Draw(image), (2, 2), text, "white")
    return image.tobytes()


def test_letters_of_many_scripts_are_not_drawn_as_boxes() -> None:
    image = Image.new("L", (400, 40))
    ImageDraw.Draw(image).text((2, 2 + Font(20).line_height * 0.72), "\uffff", "white", typeface(20), "ls")
    box = image.tobytes()
    for letter in "éÆøïñЖΩאعŁș\u00d7\u2013\u2014\u2018\u201c…€→":
        assert written(letter) not in (box, written(ascii(letter)[1:-1])), letter
    for letter in "\u4e2d\u0928\U0001f9ff":
        assert written(letter) != box, letter


@pytest.fixture
def only_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose fonts are the only ones of the system."""
    (tmp_path / "fonts").mkdir()
    config = f"<fontconfig><dir>{tmp_path}/fonts</dir><cachedir>{tmp_path}/cache</cachedir></fontconfig>"
    (tmp_path / "fonts.conf").write_text(config)
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
    caches = (glyphs.system_fonts, glyphs.runs, glyphs._drawn)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path / "fonts"
    for cache in caches:
        cache.cache_clear()


def square_font(path: Path, character: str) -> None:
    """Writes a font of one character, which looks like a square."""
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(character): "square"})
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(0, 0), (0, 800), (800, 800), (800, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (500, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Square Sans", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


@pytest.mark.skipif(shutil.which("fc-list") is None, reason="fontconfig tells which fonts there are")
def test_a_script_that_the_bundled_font_lacks_is_drawn_in_a_font_of_the_system(only_fonts: Path) -> None:
    square_font(only_fonts / "square.ttf", "\u4e2d")
    assert written("a\u4e2db") != written("a\\u4e2db")
    assert Font(20).width("a\u4e2db") == pytest.approx(Font(20).width("ab") + round(20 * 0.92), abs=1)
    assert np.frombuffer(written("\u4e2d"), np.uint8).mean() > 4 * np.frombuffer(written("."), np.uint8).mean()


def test_a_character_that_no_font_has_is_written_as_its_escape(only_fonts: Path) -> None:
    assert written("a\u4e2d\U0002f800") == written("a\\u4e2d\\U0002f800")
    assert written("a\u200d\ufe0fb") == written("ab")
