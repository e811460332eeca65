"""Render the generated parts of the pages: ``python docs/generate.py``, or ``--check`` to only compare.

A page is written by hand; what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is rendered here from
the code's schemas and docstrings, and from the result files in ``benchmarks/results``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import figures
import pages
import reference
from blocks import ROOT, replaced

import scoreboard

RESULTS = ROOT / "benchmarks" / "results"

BLOCKS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "README.md": ("figures", lambda: figures.demo_figures(RESULTS)),
    "docs/benchmarks.md": ("figures", lambda: figures.benchmarks(RESULTS)),
    "docs/recipe.md": ("fields", reference.recipe_fields),
    "docs/data-free.md": ("settings", reference.data_free_settings),
    "docs/methods.md": ("index", pages.index),
    "docs/scoreboard.md": ("board", lambda: scoreboard.page(RESULTS)),
    "docs/report.md": ("fields", reference.report_fields),
}
"""The block of each page, and what renders it."""


PAGES: Mapping[str, Callable[[], str]] = pages.pages(RESULTS)
"""What renders each page that has nothing written by hand."""


def rendered(page: str) -> str:
    """A page rendered anew, or with its block rendered anew."""
    if page in PAGES:
        return PAGES[page]()
    name, content = BLOCKS[page]
    return replaced((ROOT / page).read_text(encoding="utf-8"), name, content())


def stale() -> list[str]:
    """Pages that are not what the script would write."""
    return [page for page in (*BLOCKS, *PAGES) if _written(page) != rendered(page)]


def left_over() -> list[str]:
    """Pages of methods that are no more."""
    found = (path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "methods").glob("*.md"))
    return sorted(page for page in found if page not in PAGES)


def main() -> int:
    """Write the pages, or say which are out of date."""
    found, extra = stale(), left_over()
    if "--check" in sys.argv[1:]:
        for page in (*found, *extra):
            print(f"{page} is out of date; run python docs/generate.py")
        return int(bool(found or extra))
    for page in extra:
        (ROOT / page).unlink()
    (ROOT / "docs" / "methods").mkdir(exist_ok=True)
    for page in found:
        Path(ROOT / page).write_text(rendered(page), encoding="utf-8")
        print(f"{page} is written")
    return 0


def _written(page: str) -> str:
    path = ROOT / page
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
