"""How numbers and times of this project are put into words, the same in tables, sheets and pages."""

from __future__ import annotations

import math
import re
from urllib.parse import unquote, urlsplit


def describe_bytes(count: int) -> str:
    """Returns a size for people: 812 B, 4.1 kB, 12.0 MB (powers of 1000)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def describe_number(value: float) -> str:
    """Returns a number with as many digits as a reader wants: 1,234 or 0.372 or 1.2e-05."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    if abs(value) >= 1e-3:
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.1e}"


def describe_value(value: object) -> str:
    """Returns a field's value as one short text; numbers as `describe_number` does, "none" for what is missing."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return describe_number(value) if math.isfinite(value) else str(value)
    return "none" if value is None else " ".join(str(value).split())


def file_name(url: str) -> str:
    """Returns the last part of an image's URL or path, unquoted; "" if it has none."""
    try:
        path = urlsplit(url).path
    except ValueError:  # a faulty host
        path = url
    return unquote(path.rstrip("/").rsplit("/", 1)[-1])


def share(part: int, whole: int) -> str:
    """Returns `part` of `whole` in percent, or "" where there is no whole."""
    if not whole:
        return ""
    percent = 100 * part / whole
    return f"{percent:.0f}%" if percent >= 10 or percent == 0 else f"{percent:.1f}%"


def task_title(task: str) -> str:
    """Returns a task's name as a heading: canny_to_image -> "Canny to image"."""
    text = task.replace("_", " ")
    return text[:1].upper() + text[1:]


def describe_license(license: str) -> str:
    """Returns a license's short name if its address is a well-known one, else the address without what all share."""
    address = re.sub(r"^https?://(www\.)?", "", license).rstrip("/")
    if address.startswith("creativecommons.org/publicdomain/zero/"):
        return f"CC0 {address.rsplit('/', 1)[-1]}"
    if address.startswith("creativecommons.org/publicdomain/mark/"):
        return "Public Domain Mark"
    if address.startswith("rightsstatements.org/vocab/NKC"):
        return "No Known Copyright"
    found = re.match(r"creativecommons\.org/licenses/([a-z-]+)/([0-9.]+)", address)
    return f"CC {found[1].upper()} {found[2]}" if found else address
