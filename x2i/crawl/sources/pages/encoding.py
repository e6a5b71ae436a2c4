"""Which encoding a page or a text file is in: by byte order mark, by what is declared, and by what its bytes can be."""

from __future__ import annotations

import codecs
import re

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BARE_UTF16 = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_XML_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([a-zA-Z0-9_:.-]+)""")
_META = re.compile(rb"""<meta\b[^>]{0,500}?charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]+)""", re.IGNORECASE)
_DECLARED_WITHIN = 4096
_MULTIBYTE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")
_CONVINCING = 4
"""So many characters that read as UTF-8 are no accident in any other encoding; in Windows-1252 one is none."""
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "johab": "cp949",
}
"""What the web means by a name, where that is more than the name says (WHATWG Encoding Standard, section 4.2)."""
_OF_THE_WEB = frozenset(
    {*_MEANT.values(), "utf-8", "cp866", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "euc_jp", "iso2022_jp"}
    | {f"cp{number}" for number in range(1250, 1259)}
    | {f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)}
)
"""The encodings that browsers know; Python has more, some of which run code or mean no text at all."""
_ALIASES = {
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "x-x-big5": "big5hkscs",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-ukrainian": "mac-cyrillic",
    "iso-8859-8-i": "iso8859-8",
    "dos-874": "cp874",
    "unicode-1-1-utf-8": "utf-8",
}


def decode_html(data: bytes, charset: str | None = None) -> str:
    """Returns the text of a page.

    In this order: byte order mark; UTF-16 by its pattern; `charset` of the HTTP header; <?xml encoding>; <meta
    charset>; UTF-8; Windows-1252. A page that is declared to be in another encoding and yet is plainly UTF-8 is read
    as UTF-8.
    """
    marked = _decode_marked(data)
    if marked is not None:
        return marked
    head = data[:_DECLARED_WITHIN]
    declared = [match[1].decode("ascii") for pattern in (_XML_DECLARATION, _META) if (match := pattern.search(head))]
    codec = next((found for label in (charset or "", *declared) if (found := _codec(label))), None)
    text = _decode_utf8(data, 1 if codec in (None, "cp1252") else _CONVINCING)
    if text is not None:
        return text
    return data.decode(codec or "cp1252", errors="replace")


def decode_text(data: bytes) -> str:
    """Returns the text of a file that declares nothing: by byte order mark, else UTF-8, else Windows-1252."""
    marked = _decode_marked(data)
    if marked is not None:
        return marked
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _decode_marked(data: bytes) -> str | None:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, errors="replace")
    for start, name in _BARE_UTF16:
        if data.startswith(start):
            return data.decode(name, errors="replace")
    return None


def _decode_utf8(data: bytes, at_least: int) -> str | None:
    """Returns `data` as UTF-8 if it is that, with `at_least` so many characters beyond ASCII."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if text.isascii():
        return None
    found = sum(1 for _, _ in zip(_MULTIBYTE.finditer(data), range(at_least)))
    return text if found >= at_least else None


def _codec(label: str) -> str | None:
    """Returns the Python codec of a web encoding label, or None. A page whose ASCII can be read is not in UTF-16."""
    label = label.strip().lower()
    if label.startswith("utf-16"):
        return "utf-8"
    try:
        name = _ALIASES.get(label) or codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _MEANT.get(name, name)
    return name if name in _OF_THE_WEB else None
