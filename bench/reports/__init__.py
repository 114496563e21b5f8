"""Tables and figures of result records; nothing here runs a model."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """Render a template of this folder; values are escaped (HTML) or made printable."""
    return _environment(template.endswith(".html.jinja")).get_template(template).render(values)


@functools.cache
def _environment(html: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=html,
        finalize=None if html else printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def printable(value: object) -> str:
    """Text with control characters escaped."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
