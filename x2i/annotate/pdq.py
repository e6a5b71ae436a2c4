"""pdq: the PDQ hash of every image, which small changes of a picture hardly change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, PixelAnnotation, StoredImage, Verdict
from x2i.image.hashes import pdq_with_quality, require_pdq


@dataclass(frozen=True)
class Pdq(PixelAnnotation):
    """pdq: 256 bits as 64 hex digits; pictures that differ in up to 31 bits look the same. quality: 0 to 100.

    Below a quality of 50, PDQ's authors call hashes unfit for comparing: flat pictures all look alike.
    """

    name: ClassVar[str] = "pdq"
    title: ClassVar[str] = "PDQ hash, and how much detail it is made of, 0 to 100"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("pdq", pa.string()), pa.field("quality", pa.int32()))

    def load(self) -> Annotator:
        require_pdq()
        return self

    def facts(self, image: StoredImage) -> Verdict:
        digits, quality = pdq_with_quality(image.pixels)
        return {"pdq": digits, "quality": quality}
