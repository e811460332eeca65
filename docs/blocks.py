"""Marked blocks in pages: what stands between two comments is rendered by a script, the rest by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def replaced(text: str, name: str, content: str) -> str:
    """A page with the block of that name rendered anew.

    Args:
        text: The page; it must hold ``<!-- NAME -->`` and ``<!-- /NAME -->``.
        name: Of the block.
        content: Markdown.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page has no block {name!r}; expected <!-- {name} --> and <!-- /{name} -->")
    return pattern.sub(lambda found: f"{found[1]}\n{content.strip()}\n\n{found[2]}", text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars and line breaks in its cells are escaped."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def markdown(text: str) -> str:
    """A docstring's reStructuredText as Markdown: links, code, and roles; its sections are left out."""
    plain = re.split(r"\n\s*(?:Args|Returns|Raises|Note|Example):", text)[0]
    plain = re.sub(r"\n\s*References:\s*", "\n\nReference: ", plain)
    plain = re.sub(
        r"`([^`<]+?)\s*<([^>]+)>`_", lambda found: f"[{' '.join(found[1].split())}]({found[2]})", plain
    )
    plain = re.sub(
        r"\.\. math::((?:.|\n)+?)(?=\n\n|$)", lambda found: f"$${' '.join(found[1].split())}$$", plain
    )
    plain = re.sub(r":math:`([^`]+)`", r"$\1$", plain)
    plain = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", plain)
    plain = plain.replace("``", "`")
    return "\n\n".join(" ".join(part.split()) for part in plain.split("\n\n") if part.strip())


def value(plain: object) -> str:
    """A default as a recipe would write it."""
    return "`null`" if plain is None else f"`{_flow(plain)}`"


def _flow(plain: object) -> str:
    if isinstance(plain, dict):
        return "{" + ", ".join(f"{name}: {_flow(held)}" for name, held in plain.items()) + "}"
    if isinstance(plain, (list, tuple)):
        return "[" + ", ".join(map(_flow, plain)) + "]"
    return plain if isinstance(plain, str) else json.dumps(plain)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
