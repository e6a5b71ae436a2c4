"""Annotations called as the stage calls them, on pictures of a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from x2i.annotate.base import Annotation, StoredImage, Verdict


def verdicts(annotation: Annotation, images: Sequence[np.ndarray]) -> list[Verdict]:
    """Returns what a freshly loaded annotator says about `images`, given to it together."""
    stored = [StoredImage(f"k{n}", {}, {}, image) for n, image in enumerate(images)]
    return list(annotation.load().annotate(stored))


def of_column(annotation: Annotation, column: str, rows: Sequence[Mapping[str, Any] | None]) -> list[Verdict]:
    """Returns what it says about images that have these rows in the column it reads, None for no row."""
    nothing = np.zeros((0, 0, 3), np.uint8)
    stored = [StoredImage(f"k{n}", {}, {column: [row] if row else []}, nothing) for n, row in enumerate(rows)]
    return list(annotation.load().annotate(stored))
