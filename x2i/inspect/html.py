"""Static pages from Jinja2 templates: values are escaped, and a policy lets nothing but the page's own script run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from x2i.inspect.formatting import describe_number, task_title
from x2i.inspect.palette import css_variables
from x2i.inspect.svg import bar_chart, curve_plot, histogram_plot
from x2i.sample import PLACEHOLDER_PATTERN


def render_page(template: str, style: str, script: str | None = None, **values: Any) -> bytes:
    """Returns page `template` of x2i/inspect/templates filled with `values`, which are escaped.

    style, script: names of files beside the template. The page's Content-Security-Policy allows exactly these, and
    images beside the page.
    """
    css = css_variables() + _text("base.css") + _text(style)
    code = _text(script) if script else ""
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; script-src '{_hash(code)}'; "
        f"style-src '{_hash(css)}'; style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    return page.render(policy=Markup(policy), style=Markup(css), script=Markup(code), **values).encode()


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


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("x2i.inspect"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.globals |= {"bar_chart": bar_chart, "curve_plot": curve_plot, "histogram_plot": histogram_plot}
    filters: dict[str, Callable[..., Any]] = {
        "thousands": "{:,}".format,
        "words": lambda name: name.replace("_", " "),
        "number": describe_number,
        "task_title": task_title,
    }
    environment.filters |= filters
    return environment


def _text(name: str) -> str:
    return (resources.files("x2i.inspect") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
