"""Making a static page safe: escaped text, inlined style and script, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from importlib import resources
from string import Template
from typing import Any

from x2i.inspect.palette import css_variables
from x2i.sample import PLACEHOLDER_PATTERN

CHIP_CLASSES = 5


def template(name: str) -> str:
    """Returns the text of a file in x2i/inspect/templates."""
    return (resources.files("x2i.inspect") / "templates" / name).read_text(encoding="utf-8")


def render_page(name: str, style: str, script: str, **fields: str) -> str:
    """Fills page template `name`; `fields` are HTML that the caller has escaped.

    The page's Content-Security-Policy allows exactly this style, this script, and images beside the page.
    """
    style = css_variables() + template("base.css") + style
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; script-src '{_hash(script)}'; "
        f"style-src '{_hash(style)}'; style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    return Template(template(name)).substitute(policy=policy, style=style, script=script, **fields)


def key_figure(name: str, value: str, note: str) -> str:
    """Returns one of the large numbers at the head of a report, escaped."""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"


def embedded_json(document: Any) -> str:
    """Returns JSON that can stand inside a <script> element: no character of it can end the element."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def instruction_parts(instruction: str) -> Iterator[str | int]:
    """Splits an instruction into texts and the numbers of the input images that stand between them."""
    position = 0
    for match in PLACEHOLDER_PATTERN.finditer(instruction):
        if match.start() > position:
            yield instruction[position : match.start()]
        yield int(match[1])
        position = match.end()
    if position < len(instruction):
        yield instruction[position:]


def instruction_html(instruction: str) -> str:
    """Returns an instruction as HTML: text escaped, placeholders as numbered chips."""
    parts = instruction_parts(instruction)
    return "".join(chip_html(part) if isinstance(part, int) else escape(part) for part in parts)


def chip_html(number: int) -> str:
    """Returns the numbered chip of input image `number`."""
    return f'<span class="chip c{(number - 1) % CHIP_CLASSES + 1}">{number}</span>'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
