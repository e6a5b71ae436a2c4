"""Which encoding a page or a text file is in: by byte order mark, by what is declared, and by what its bytes can be."""

from __future__ import annotations

from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, to_unicode

_BARE_UTF16 = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_ASCII = rb"<a>\x41+AGE-"
_CONVINCING = 4
"""So many continuation bytes of UTF-8 are no accident in any other encoding; in Windows-1252 one is none."""


def decode_html(data: bytes, charset: str | None = None) -> str:
    """Returns the text of a page.

    In this order: byte order mark; UTF-16 by its pattern; `charset` of the HTTP header; <?xml encoding>; <meta
    charset>; UTF-8; Windows-1252. A page that is declared to be in another encoding and yet is plainly UTF-8 is read
    as UTF-8.
    """
    marked = _decode_marked(data)
    if marked is not None:
        return marked
    for start, name in _BARE_UTF16:
        if data.startswith(start):
            return to_unicode(data, name)
    header = f"text/html; charset={charset}" if charset else None
    declared = _if_readable(http_content_type_encoding(header)) or _if_readable(html_body_declared_encoding(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return to_unicode(data, declared or "cp1252")
    enough = 1 if declared in (None, "cp1252") else _CONVINCING
    return text if len(data) - len(text) >= enough else to_unicode(data, declared or "utf-8")


def decode_text(data: bytes) -> str:
    """Returns the text of a file that declares nothing: by byte order mark, else UTF-8, else Windows-1252."""
    marked = _decode_marked(data)
    if marked is not None:
        return marked
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _if_readable(encoding: str | None) -> str | None:
    """Returns `encoding` if ASCII means itself in it: not in rot13, unicode_escape or UTF-16, which has a mark."""
    try:
        return encoding if encoding and _ASCII.decode(encoding) == _ASCII.decode("ascii") else None
    except (LookupError, ValueError):
        return None


def _decode_marked(data: bytes) -> str | None:
    encoding, mark = read_bom(data)
    return None if encoding is None or mark is None else to_unicode(data[len(mark) :], encoding)
