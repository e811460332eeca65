"""Whole pages that are rendered: one for each method, and the papers."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import reference
import yaml
from blocks import markdown, table

import scoreboard
from limbeck import losses
from limbeck.methods import Method, catalogue
from limbeck.methods.description import Description, description
from limbeck.methods.table import METHODS
from limbeck.methods.wrapping import Modifier

_LINK = re.compile(r"`([^`<]+?)\s*<([^>]+)>`_", re.DOTALL)
_ALONE = (
    "balance",
    "ce",
    "ctc",
    "ctc-frames",
    "ctc-sequence",
    "gaussian",
    "list-net",
    "margin-mse",
    "past-self",
    "regression",
    "reuse",
)
"""Methods that stand without ``ce``: it is in them, or what they compare are not classes, or no label is needed."""


def pages(results: Path) -> Mapping[str, Callable[[], str]]:
    """What renders each page, by its path in the repository."""
    of_methods = {f"docs/methods/{name}.md": _rendering(name, results) for name in METHODS}
    return {**of_methods, "docs/papers.md": papers}


def method(name: str, results: Path) -> str:
    """The page of a method."""
    found = description(name)
    parts = [
        f"# {name}",
        markdown(found.summary),
        markdown(found.text),
        *_formulas(found),
        f"## When it helps\n\n{markdown(found.helps)}",
        f"## What it costs\n\n{markdown(found.costs)}",
        f"## What it reads and keeps\n\n{found.needs} {found.state}\n\n{_terms(found.kind)}",
        _written(found),
        f"## Fields\n\n{reference.method_fields(name)}",
        scoreboard.of_method(name, results),
        _paper(found),
        f"[All methods](../methods.md). Family: {found.kind.family}.",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return text.replace("](methods.md", "](../methods.md")


def _written(found: Description) -> str:
    """How it is written, in a recipe where one can take it and in Python."""
    here = "" if found.reads.sequences else f"```yaml\n{recipe(found.name)}```\n\n"
    return f"## How to write it\n\n{here}```python\n{python(found.name)}\n```"


def recipe(name: str) -> str:
    """The part of a recipe that takes the method, with its defaults."""
    return yaml.safe_dump({"method": _notation(name)}, default_flow_style=None, sort_keys=False, width=100)


def python(name: str) -> str:
    """The same in Python."""
    own = f"lb.{METHODS[name].__name__}()"
    return f"method = {own}" if name in _ALONE else f"method = {own} + lb.CE()"


def papers() -> str:
    """Every paper that a method or a loss cites."""
    titles: dict[str, str] = {}
    methods, functions = defaultdict(list), defaultdict(list)
    for name, kind in METHODS.items():
        for title, address in _cited(kind):
            titles[address] = max(titles.get(address, ""), title, key=len)
            methods[address].append(f"[{name}](methods/{name}.md)")
        if kind.paper not in titles:
            titles[kind.paper] = _address(kind.paper)
            methods[kind.paper].append(f"[{name}](methods/{name}.md)")
    for name, function in vars(losses).items():
        for title, address in _cited(function) if isinstance(function, FunctionType) else ():
            titles[address] = max(titles.get(address, ""), title, key=len)
            functions[address].append(f"`{name}`")
    rows = [
        (f"[{title}]({address})", ", ".join(methods[address]), ", ".join(functions[address]))
        for address, title in sorted(titles.items(), key=lambda entry: entry[1].lower())
    ]
    intro = (
        "Every paper that the docstring of a method or of a loss cites. Losses are functions in `limbeck.losses`. "
        "This page is rendered by `python docs/generate.py`."
    )
    return f"# Papers\n\n{intro}\n\n{table(('Paper', 'Methods', 'Losses'), rows)}\n"


def index() -> str:
    """The methods by family, each with a link to its page."""
    parts = []
    for family in reference.FAMILIES:
        rows = [
            (f"[{entry['name']}](methods/{entry['name']}.md)", entry["summary"], f"[paper]({entry['paper']})")
            for entry in sorted(catalogue(), key=lambda entry: str(entry["name"]))
            if entry["family"] == family
        ]
        parts.append(f"### {family.capitalize()}\n\n{table(('Method', 'What it does', 'Paper'), rows)}")
    return "\n\n".join(parts)


def _rendering(name: str, results: Path) -> Callable[[], str]:
    return lambda: method(name, results)


def _formulas(found: Description) -> Iterator[str]:
    if not found.formulas:
        return
    yield "## Formulas" if "math::" not in found.text else "## Formulas of its losses"
    for formula in found.formulas:
        yield f"{markdown(formula.words)}\n\n$${formula.tex}$$"


def _terms(kind: type[Method]) -> str:
    """The names of its terms, as the log shows them."""
    if issubclass(kind, Modifier):
        return "Its terms are those of the methods inside."
    source = ast.parse(textwrap.dedent(inspect.getsource(kind.weights)))
    keys = [key for node in ast.walk(source) if isinstance(node, ast.Dict) for key in node.keys]
    named = [key.value for key in keys if isinstance(key, ast.Constant)]
    own = kind.model_fields["kind"].default
    return f"Its terms in the log: {', '.join(f'`{name}`' for name in named or [own])}."


def _notation(name: str) -> dict[str, Any]:
    defaults = description(name).defaults
    own = {
        field: held
        for field, held in defaults.items()
        if held is not None and field != "of" and not isinstance(held, (dict, list))
    }
    return {name: own} if name in _ALONE else {name: own, "ce": {}}


def _paper(found: Description) -> str:
    cited = markdown(found.references) if found.references else f"<{found.kind.paper}>"
    return f"## Paper\n\n{cited}"


def _cited(owner: object) -> Iterator[tuple[str, str]]:
    for title, address in _LINK.findall(inspect.getdoc(owner) or ""):
        yield " ".join(title.split()), address


def _address(address: str) -> str:
    return address.removeprefix("https://")
