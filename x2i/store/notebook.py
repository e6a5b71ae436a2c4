"""What a notebook shows of a dataset: its tables, its training samples, and a few of its images."""

from __future__ import annotations

import base64
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from x2i.image import ResizeMode, encode, resize
from x2i.picture import Picture
from x2i.store.summary import summary

if TYPE_CHECKING:
    from x2i.store import Dataset

THUMBNAILS, SIDE = 6, 128


def dataset_html(dataset: Dataset) -> str:
    """Returns a table of what the dataset holds, and its first images, as HTML that needs no other file."""
    rows = summary(dataset).items()
    cells = "".join(f"<tr><th>{name}</th><td>{escape(text) or 'none'}</td></tr>" for name, text in rows)
    return f"<table>{cells}</table>" + "".join(_thumbnail(one) for one in islice(dataset.pictures(), THUMBNAILS))


def _thumbnail(picture: Picture) -> str:
    data = encode(resize(picture.pixels, ResizeMode.LONGEST, SIDE), "jpeg", 85)
    title = escape(picture.record.key if picture.record else "", quote=True)
    return f'<img title="{title}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
