"""Templates, style, scripts and data put together: one file that needs nothing else."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from limbeck.reports import figures
from limbeck.reports.names import judged, named

_LIBRARY = "vendor/echarts/echarts.common.min.js"


def rendered(template: str, **values: Any) -> str:
    """A page: the template with its values escaped, and style and scripts inside it."""
    return _environment().get_template(template).render(**values)


def embedded(value: Any) -> Markup:
    """JSON that stands safely in a script element: no tag can begin in it.

    Raises:
        ValueError: If it holds a number that is not finite.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    for sign, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(sign, code)
    return Markup(text)  # noqa: S704 - everything that could end the element is escaped above


def packaged(path: str) -> str:
    """The text of a file that comes with this package."""
    return files("limbeck.reports").joinpath(path).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("limbeck.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("score", "signed", "percent", "brief", "count", "number", "size", "times", "duration", "plain")
    environment.filters |= {name: getattr(figures, name) for name in filters}
    environment.filters |= {"named": named, "judged": judged, "embedded": embedded}
    environment.globals |= {"inlined": _inlined, "library": _LIBRARY, "span": figures.span}
    return environment


def _inlined(path: str) -> Markup:
    """One of our own files, put into the page as it is."""
    return Markup(packaged(path))  # noqa: S704 - package data, not a user's
