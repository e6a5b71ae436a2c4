"""The contact sheet of an image store that has no samples yet: a grid of images with caption and status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x2i.counting import counted
from x2i.errors import UserError
from x2i.image_record import ImageRecord
from x2i.inspect.formatting import describe_value, file_name
from x2i.inspect.palette import LIGHT
from x2i.inspect.sheet.samples import BODY, LABEL, MARGIN, SMALL, TITLE, WIDTH, save_sheet
from x2i.inspect.sheet.text_drawing import Paragraph
from x2i.inspect.sheet.thumbnails import Broken, fit
from x2i.inspect.target import Kind, Target
from x2i.reasons import Status
from x2i.seeding import stable_hash
from x2i.store import Dataset, paths
from x2i.store.files.tar import read_range
from x2i.store.images import read_image_index, record_from_row

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

COLUMNS = 6
GAP = 20
CELL = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS
CAPTION_LINES = 3
CELL_HEIGHT = CELL + 2 * LABEL.line_height + CAPTION_LINES * SMALL.line_height + 34
STATUS_COLORS = {Status.OK: LIGHT.ok, Status.FILTERED: LIGHT.filtered, Status.FAILED: LIGHT.failed}


@dataclass(frozen=True)
class ImageView:
    """One attempted image, its bytes (None where nothing is stored) and the text to show below it.

    values: what a selection tested of it, one line each.
    """

    record: ImageRecord
    data: bytes | None
    caption: str
    values: tuple[str, ...] = ()


def write_image_sheet(target: Target, path: Path, title: str, limit: int) -> None:
    """Draws up to `limit` images of an image store to `path`, stored ones first, chosen by the hash of their keys."""
    records = image_records(target)
    chosen = choose_images(records, limit)
    captions = column_captions(target.dataset)
    views = [_view(target, record, captions.get(record.key) or record.text) for record in chosen]
    save_sheet(_draw(views, Counter(record.status for record in records), title), path)


def write_sheet_of(
    dataset: Dataset, keys: Collection[str], path: Path, title: str, limit: int, predicates: Sequence[str] = ()
) -> None:
    """Draws up to `limit` of the stored images `keys` to `path`, chosen by the hash of their keys.

    predicates: what was asked of them; the value of a field that one tests alone is written below each image.
    """
    wanted, target = frozenset(keys), Target(Kind.DATASET, dataset.root, dataset)
    records = [record for record in image_records(target) if record.key in wanted]
    captions = column_captions(dataset)
    chosen = choose_images(records, limit)
    values = _tested(dataset, predicates, [record.key for record in chosen])
    views = [_view(target, record, captions.get(record.key) or record.text) for record in chosen]
    views = [replace(view, values=tuple(values.get(view.record.key, ()))) for view in views]
    save_sheet(_draw(views, Counter(record.status for record in records), title), path)


def _tested(dataset: Dataset, predicates: Sequence[str], keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Returns "quality.sharpness 12.3" for each field that a predicate tests alone, by image."""
    from x2i.store.query.selected import tested_values

    tested = [tested_values(dataset, predicate, keys) for predicate in predicates]
    fields = dict(one for one in tested if one is not None)
    return {key: [f"{name} {describe_value(values.get(key))}" for name, values in fields.items()] for key in keys}


def image_records(target: Target) -> list[ImageRecord]:
    """Returns the records of every attempted image of a dataset or of one partition, in key order."""
    if target.kind is Kind.DATASET and target.dataset is not None:
        table = target.dataset.images()
    elif target.kind is Kind.IMAGES:
        table = read_image_index(target.path.parent.parent, target.path.stem)
    else:
        raise UserError(f"{target.path}: has no image store")
    return [record_from_row(row) for row in table.to_pylist()]


def choose_images(records: list[ImageRecord], limit: int) -> list[ImageRecord]:
    """Returns at most `limit` records in key order; of the places, at least three quarters go to stored images."""
    ranked = sorted(records, key=lambda record: stable_hash("inspect", record.key))
    stored = [record for record in ranked if record.status is Status.OK]
    lost = [record for record in ranked if record.status is not Status.OK]
    room_for_lost = max(limit - len(stored), limit // 4)
    chosen_lost = lost[:room_for_lost]
    chosen = [*stored[: limit - len(chosen_lost)], *chosen_lost]
    return sorted(chosen, key=lambda record: (record.status is not Status.OK, record.key))


def _view(target: Target, record: ImageRecord, caption: str) -> ImageView:
    if record.status is not Status.OK:
        return ImageView(record, None, record.url)
    root = target.dataset.root if target.kind is Kind.DATASET and target.dataset else target.path.parent.parent
    partition = paths.image_partition(record.key)
    return ImageView(
        record, read_range(paths.image_tar(root, partition), record.data_offset, record.data_size), caption
    )


def column_captions(dataset: Dataset | None) -> dict[str, Any]:
    """Returns the captions of the column `captions` by image, none if it has not been made."""
    if dataset is None or not paths.column_folder(dataset.root, "captions").is_dir():
        return {}
    table = dataset.column("captions")
    return dict(zip(table["key"].to_pylist(), table["caption"].to_pylist()))


def _draw(views: list[ImageView], totals: Counter[Status], title: str) -> Image:
    from PIL import Image as PillowImage
    from PIL import ImageDraw as PillowDraw

    top = MARGIN + TITLE.line_height + BODY.line_height + 24
    rows = -(-len(views) // COLUMNS)
    height = CELL_HEIGHT + max((len(view.values) for view in views), default=0) * LABEL.line_height
    sheet = PillowImage.new("RGB", (WIDTH, top + rows * (height + GAP) + MARGIN - GAP), LIGHT.paper)
    draw = PillowDraw.Draw(sheet)
    TITLE.draw(draw, (MARGIN, MARGIN - 8), title, LIGHT.ink)
    counts = ", ".join(f"{totals[status]:,} {status}" for status in Status if totals[status])
    about = f"{counted(totals.total(), 'images')} attempted: {counts or 'none'}; {len(views)} shown"
    BODY.draw(draw, (MARGIN, MARGIN - 8 + TITLE.line_height), about, LIGHT.soft)
    for place, view in enumerate(views):
        row, column = divmod(place, COLUMNS)
        _draw_cell(sheet, draw, view, (MARGIN + column * (CELL + GAP), top + row * (height + GAP)))
    return sheet


def _draw_cell(sheet: Image, draw: ImageDraw, view: ImageView, at: tuple[int, int]) -> None:
    x, y = at
    record, color = view.record, STATUS_COLORS[view.record.status]
    draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=LIGHT.tile)
    picture = fit(view.data, CELL, CELL) if view.data is not None else Broken(f"{record.reason}")
    if isinstance(picture, Broken):
        words = Paragraph(picture.why.replace("_", " "), BODY, CELL - 32, 4)
        words.draw(draw, (x + 16, y + (CELL - words.height) // 2), color)
    else:
        sheet.paste(picture, (x + (CELL - picture.width) // 2, y + (CELL - picture.height) // 2))
    draw.rectangle((x, y + CELL, x + CELL - 1, y + CELL + 2), fill=color)
    is_stored = record.status is Status.OK
    facts = f"{record.key}   {record.width}x{record.height}" if is_stored else str(record.status)
    lines = [(facts, LIGHT.faint if is_stored else color), *((value, LIGHT.accent) for value in view.values)]
    if name := file_name(record.url):
        lines.insert(0, (name, LIGHT.soft))
    y += CELL + 8
    for text, ink in lines:
        LABEL.draw(draw, (x, y), LABEL.fitted(text, CELL), ink)
        y += LABEL.line_height
    caption = Paragraph(view.caption or "no caption", SMALL, CELL, CAPTION_LINES)
    caption.draw(draw, (x, y), LIGHT.ink if view.caption else LIGHT.faint)
