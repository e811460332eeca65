"""Pages: what is generated is up to date, and links lead somewhere."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that renders them."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import generate

    yield generate
    for name in ("generate", "figures", "pages", "reference", "scoreboard", "blocks"):
        sys.modules.pop(name, None)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def test_generated_blocks_are_what_the_script_writes(pages: ModuleType) -> None:
    assert not pages.stale(), "run python docs/generate.py"
    assert not pages.left_over(), "run python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(goal), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_can_be_found_from_the_readme(page: Path) -> None:
    if page.parent == ROOT / "docs":
        assert f"docs/{page.name}" in (ROOT / "README.md").read_text()


def test_a_benchmark_is_rendered_with_its_goal(pages: ModuleType, tmp_path: Path) -> None:
    ratio = {"value": 1.02, "low": 1.01, "high": 1.03, "unit": "ratio", "better": "lower", "goal": 1.05}
    result = {
        "name": "epoch",
        "commit": "0" * 40,
        "date": "2030-01-01",
        "command": "make bench NAME=epoch",
        "hardware": {"cpu": "a processor", "cores": 2},
        "versions": {"torch": "2.13.0"},
        "figures": {"stored_over_none": ratio},
    }
    (tmp_path / "epoch.json").write_text(json.dumps(result))
    (tmp_path / "scoreboard.json").write_text("{}")
    text = pages.figures.benchmarks(tmp_path)
    assert "| `stored_over_none` | 1.02 | 1.01 | 1.03 | ratio | lower | 1.05 | yes |" in text
    assert "scoreboard" not in text


def test_without_a_demo_run_the_readme_says_how_to_make_one(pages: ModuleType, tmp_path: Path) -> None:
    assert "make demo" in pages.figures.demo_figures(tmp_path)
