"""Markdown from templates, with everything that comes from data escaped."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from limbeck.reports import figures
from limbeck.reports.names import judged, named

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~$#])")


def rendered(template: str, **values: Any) -> str:
    """A Markdown text. Its templates pass data through ``md``, or through filters that give numbers."""
    return _environment().get_template(template).render(**values)


def escaped(value: object) -> str:
    """Text that Markdown and HTML take literally, on one line."""
    text = re.sub(r"[ \t\r\n\f\v]+", " ", str(value)).strip()
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("limbeck.reports", "templates"),
        autoescape=False,  # noqa: S701 - Markdown is escaped by ``md``
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("score", "signed", "percent", "brief", "count", "number", "size", "times", "duration", "plain")
    environment.filters |= {name: getattr(figures, name) for name in filters}
    environment.filters |= {"named": named, "judged": judged, "md": escaped}
    environment.globals |= {"span": figures.span}
    return environment
