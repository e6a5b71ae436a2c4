"""blocklist: images whose hash stands on a list of known images, such as reported or licensed-out ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import Annotation, Annotator, StoredImage, Verdict
from x2i.errors import UserError
from x2i.image.hashes import require_pdq
from x2i.models.weights import sha256_of_file
from x2i.options import Option

PDQ_BITS = 256
MIN_PDQ_QUALITY = 50
"""Of 100; below it PDQ's authors call hashes unfit for comparing: flat pictures all look alike."""
HASH_LENGTH = 64


@dataclass(frozen=True)
class Blocklist(Annotation):
    """Look every image up in lists of hashes: sha256 finds the same file, PDQ the same picture after small changes.

    is_listed: whether a list has it. list: name of the file that has it, the nearest one if several do. distance: bits
    of 256 in which its PDQ differs from the nearest hash of the lists; null without PDQ lists and for pictures too flat
    to be hashed. The sha256 is that of the file as it was fetched.

    A list is a text file with one hash of 64 hex digits at the start of a line; what follows a comma or a space is
    ignored, as are empty lines, headings and lines that start with #.
    """

    name: ClassVar[str] = "blocklist"
    title: ClassVar[str] = "Whether an image stands on a list of known hashes"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("is_listed", pa.bool_()),
        pa.field("list", pa.string()),
        pa.field("distance", pa.int32()),
    )
    kept: ClassVar[str] = "NOT is_listed"
    image_fields: ClassVar[tuple[str, ...]] = ("sha256",)

    sha256: Annotated[tuple[str, ...], Option("A file of sha256 hashes; may be repeated.", decides=False)] = ()
    pdq: Annotated[tuple[str, ...], Option("A file of PDQ hashes; may be repeated.", decides=False)] = ()
    radius: Annotated[
        int, Option("Up to how many of 256 bits two PDQ hashes may differ and mean one picture.", ge=0, le=128)
    ] = 31

    @property
    def pixels(self) -> bool:
        return bool(self.pdq)

    def config(self) -> dict[str, Any]:
        if not self.sha256 and not self.pdq:
            raise UserError("blocklist: no list: name a file of hashes with sha256 or pdq")
        lists = {kind: {Path(f).name: sha256_of_file(Path(f)) for f in getattr(self, kind)} for kind in KINDS}
        return {**super().config(), **lists}

    def load(self) -> Annotator:
        exact = {digest: Path(file).name for file in self.sha256 for digest in read_hashes(Path(file))}
        return Lookup(exact, PdqIndex([Path(file) for file in self.pdq]) if self.pdq else None, self.radius)


KINDS = ("sha256", "pdq")


class Lookup:
    def __init__(self, exact: Mapping[str, str], pdq: PdqIndex | None, radius: int) -> None:
        self._exact, self._pdq, self._radius = exact, pdq, radius

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        return [self._verdict(image) for image in images]

    def _verdict(self, image: StoredImage) -> Verdict:
        name = self._exact.get(image.row["sha256"])
        distance, nearest = self._pdq.nearest(image.pixels) if self._pdq else (None, None)
        if name is None and distance is not None and distance <= self._radius:
            name = nearest
        return {"is_listed": name is not None, "list": name, "distance": distance}


class PdqIndex:
    """The PDQ hashes of several files, searched exhaustively."""

    def __init__(self, files: Sequence[Path]) -> None:
        import faiss

        hashes = [(digest, file.name) for file in files for digest in read_hashes(file)]
        self._names = [name for _, name in hashes]
        self._compute = require_pdq().compute
        self._index = faiss.IndexBinaryFlat(PDQ_BITS)
        self._index.add(_packed("".join(digest for digest, _ in hashes)))

    def nearest(self, image: np.ndarray) -> tuple[int | None, str | None]:
        """Returns (distance in bits, name of the file) of the nearest hash; (None, None) if the image is too flat."""
        bits, quality = self._compute(np.ascontiguousarray(image))
        if quality < MIN_PDQ_QUALITY:
            return None, None
        distances, numbers = self._index.search(np.packbits(bits)[None], 1)
        return int(distances[0, 0]), self._names[int(numbers[0, 0])]


def read_hashes(file: Path) -> list[str]:
    """Returns the hashes of a list in lower case. Raises UserError if there is no such file, or no hash in it."""
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    with file.open(encoding="utf-8", errors="replace") as lines:
        starts = [line.strip().strip('"')[:HASH_LENGTH].lower() for line in lines]
    hashes = [start for start in starts if len(start) == HASH_LENGTH and set(start) <= set("0123456789abcdef")]
    if not hashes:
        raise UserError(f"{file}: expected lines that start with a hash of {HASH_LENGTH} hex digits, found none")
    return hashes


def _packed(digits: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(-1, PDQ_BITS // 8)
