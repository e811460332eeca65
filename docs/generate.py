"""Render the generated parts of the pages: ``python docs/generate.py``, or ``--check`` to only compare.

A page is written by hand; what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is rendered here from
the code's schemas and docstrings, and from the result files in ``benchmarks/results``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import figures
import reference
from blocks import ROOT, replaced

RESULTS = ROOT / "benchmarks" / "results"

BLOCKS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "README.md": ("figures", lambda: figures.demo_figures(RESULTS)),
    "docs/benchmarks.md": ("figures", lambda: figures.benchmarks(RESULTS)),
    "docs/recipe.md": ("fields", reference.recipe_fields),
    "docs/methods.md": ("methods", reference.methods),
    "docs/report.md": ("fields", reference.report_fields),
}
"""The block of each page, and what renders it."""


def rendered(page: str) -> str:
    """A page with its block rendered anew."""
    name, content = BLOCKS[page]
    return replaced((ROOT / page).read_text(encoding="utf-8"), name, content())


def stale() -> list[str]:
    """Pages that are not what the script would write."""
    return [page for page in BLOCKS if (ROOT / page).read_text(encoding="utf-8") != rendered(page)]


def main() -> int:
    """Write the pages, or say which are out of date."""
    found = stale()
    if "--check" in sys.argv[1:]:
        print("\n".join(f"{page} is out of date; run python docs/generate.py" for page in found))
        return int(bool(found))
    for page in found:
        Path(ROOT / page).write_text(rendered(page), encoding="utf-8")
        print(f"{page} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
