"""What one crawled image is: a row of the image store, valid or refused."""

from __future__ import annotations

from dataclasses import dataclass

from x2i.reasons import Reason, Status
from x2i.sample import KEY_PATTERN, require


@dataclass(frozen=True)
class ImageRecord:
    """One attempted image of the image store, failures included. Field meanings are in docs/concepts/format.md.

    text_source: whose words `text` is: "sidecar", "table", "metadata", "shard", "import", or "alt" (of a web page).
    width, height: of the stored image, in pixels; 0 where nothing is stored.
    phash: 64-bit perceptual hash of the stored image, None where nothing is stored.
    pdq: its PDQ hash as 64 hex digits, "" where it was not asked for.
    data_offset, data_size: where the stored image's bytes lie in its partition's tar; -1 and 0 where none.
    """

    key: str
    uid: str
    url: str
    status: Status
    reason: Reason | None = None
    detail: str = ""
    page_url: str = ""
    text: str = ""
    text_source: str = ""
    context: str = ""
    width: int = 0
    height: int = 0
    original_width: int = 0
    original_height: int = 0
    format: str = ""
    bytes: int = 0
    sha256: str = ""
    phash: int | None = None
    pdq: str = ""
    data_offset: int = -1
    data_size: int = 0
    http_status: int = 0
    license: str = ""
    opt_out: str = ""
    host: str = ""
    extra: str = "{}"

    def __post_init__(self) -> None:
        require(bool(KEY_PATTERN.fullmatch(self.key)), self.key, "key", "1 to 80 of the characters a-z 0-9 _ -")
        require(bool(self.uid), self.key, "uid", "a stable identity of the source")
        stored = self.status is Status.OK
        require(stored == (self.reason is None), self.key, "reason", "a reason exactly when the image was dropped")
        require(not stored or min(self.width, self.height) >= 1, self.key, "width, height", "a size for a kept image")
        require(not stored or bool(self.sha256 and self.format), self.key, "sha256, format", "both for a kept image")
