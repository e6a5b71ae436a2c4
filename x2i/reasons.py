"""The closed vocabulary of why an image or a candidate sample did not go on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a row was dropped. `FAILED_REASONS` went wrong; every other reason is a rule that decided."""

    # the network
    BAD_URL = "bad_url"
    BLOCKED_ADDRESS = "blocked_address"
    DNS_ERROR = "dns_error"
    CONNECTION_ERROR = "connection_error"
    TLS_ERROR = "tls_error"
    TIMEOUT = "timeout"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    HTTP_CLIENT_ERROR = "http_client_error"
    HTTP_RATE_LIMITED = "http_rate_limited"
    HTTP_SERVER_ERROR = "http_server_error"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TRUNCATED = "body_truncated"
    BODY_EMPTY = "body_empty"
    BAD_ENCODING = "bad_encoding"
    FILE_ERROR = "file_error"
    BAD_RECORD = "bad_record"
    URL_ONLY = "url_only"
    # what the site owner says
    ROBOTS_DISALLOWED = "robots_disallowed"
    OPT_OUT = "opt_out"
    TAKEN_DOWN = "taken_down"
    # the image itself
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_MANY_PIXELS = "too_many_pixels"
    IMAGE_TRUNCATED = "image_truncated"
    IMAGE_CORRUPT = "image_corrupt"
    TOO_SMALL = "too_small"
    # later stages
    NOT_SELECTED = "not_selected"
    DUPLICATE = "duplicate"
    NO_CAPTION = "no_caption"
    NO_ENTITY = "no_entity"
    NOTHING_FOUND = "nothing_found"
    NO_PAIR = "no_pair"
    JUDGED_DIFFERENT = "judged_different"
    BAD_INSTRUCTION = "bad_instruction"
    MISALIGNED = "misaligned"
    TEXT_UNREADABLE = "text_unreadable"
    JUDGED_WRONG = "judged_wrong"
    UNSUITABLE_IMAGE = "unsuitable_image"
    BACKEND_ERROR = "backend_error"
    ANSWER_TRUNCATED = "answer_truncated"
    ANSWER_REFUSED = "answer_refused"
    ANSWER_INVALID = "answer_invalid"


FAILED_REASONS = frozenset(
    {
        Reason.BAD_URL,
        Reason.DNS_ERROR,
        Reason.CONNECTION_ERROR,
        Reason.TLS_ERROR,
        Reason.TIMEOUT,
        Reason.TOO_MANY_REDIRECTS,
        Reason.HTTP_CLIENT_ERROR,
        Reason.HTTP_RATE_LIMITED,
        Reason.HTTP_SERVER_ERROR,
        Reason.BODY_TOO_LARGE,
        Reason.BODY_TRUNCATED,
        Reason.BODY_EMPTY,
        Reason.BAD_ENCODING,
        Reason.FILE_ERROR,
        Reason.BAD_RECORD,
        Reason.NOT_AN_IMAGE,
        Reason.UNSUPPORTED_FORMAT,
        Reason.IMAGE_TRUNCATED,
        Reason.IMAGE_CORRUPT,
        Reason.BACKEND_ERROR,
    }
)


class Status(StrEnum):
    """What became of a row: kept, dropped by a rule, or gone wrong. The last two are never mixed."""

    OK = "ok"
    FILTERED = "filtered"
    FAILED = "failed"


@dataclass(frozen=True)
class Dropped:
    """A verdict: this row does not go on, for this reason. `detail` is for people, never for control flow."""

    reason: Reason
    detail: str = ""

    @property
    def status(self) -> Status:
        return Status.FAILED if self.reason in FAILED_REASONS else Status.FILTERED


class DroppedError(Exception):
    """Carries a `Dropped` verdict out of code that has nothing else to return, such as a decoder."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.verdict = Dropped(reason, detail)
