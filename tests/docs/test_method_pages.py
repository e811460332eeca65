"""The pages of the methods: each is whole, its formulas can be set, and what it tells to write works."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import limbeck as lb
from limbeck.methods import METHODS, parse
from limbeck.methods.description import description

ROOT = Path(__file__).resolve().parents[2]
every_method = pytest.mark.parametrize("name", METHODS)
SECTIONS = ("When it helps", "What it costs", "What it reads and keeps", "How to write it", "Fields", "Paper")


@pytest.fixture(scope="module")
def pages() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        import pages

        yield pages
    for name in ("figures", "pages", "reference", "scoreboard", "blocks"):
        sys.modules.pop(name, None)


def text(name: str) -> str:
    return (ROOT / "docs" / "methods" / f"{name}.md").read_text()


@every_method
def test_a_page_has_all_sections_and_a_formula(name: str) -> None:
    page = text(name)
    assert all(f"\n## {section}\n" in page for section in SECTIONS)
    formulas = re.findall(r"^\$\$(.+)\$\$$", page, re.MULTILINE)
    assert formulas
    for formula in formulas:
        assert formula.count("{") == formula.count("}")
        assert formula.count(r"\left") - formula.count(r"\leftarrow") == formula.count(r"\right")
        assert formula.count(r"\begin") == formula.count(r"\end")


@every_method
def test_no_markup_of_docstrings_is_left(name: str) -> None:
    page = re.sub(r"```.*?```", "", text(name), flags=re.DOTALL)
    assert not re.search(r":\w+:`|``|`_|\.\. math", page)


@every_method
def test_the_recipe_and_the_python_are_the_same_method(name: str, pages: ModuleType) -> None:
    page = text(name)
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    code = re.search(r"```python\n(.*?)\n```", page, re.DOTALL)
    assert code
    names = {"lb": lb}
    exec(code[1], names)  # noqa: S102
    if description(name).reads.sequences:  # no recipe takes it
        assert not shown
        return
    assert shown
    assert parse(yaml.safe_load(shown[1])["method"]) == names["method"]


@every_method
def test_a_docstring_says_when_it_helps_and_what_it_costs(name: str) -> None:
    found = description(name)
    assert found.helps.endswith(".")
    assert found.costs.endswith(".")
    assert "\n\n" not in found.summary
    assert found.reads == METHODS[name].model_validate({}).reads


def test_every_method_and_every_paper_of_one_is_in_the_index(pages: ModuleType) -> None:
    papers = (ROOT / "docs" / "papers.md").read_text()
    index = pages.index()
    for name, kind in METHODS.items():
        assert f"](methods/{name}.md)" in index
        assert f"](methods/{name}.md)" in papers
        assert f"]({kind.paper})" in papers
    assert len(re.findall(r"^\| \[", index, re.MULTILINE)) == len(METHODS)


def test_a_loss_stands_beside_its_paper() -> None:
    papers = (ROOT / "docs" / "papers.md").read_text()
    (row,) = [line for line in papers.splitlines() if "abs/1503.02531" in line]
    assert "[kd](methods/kd.md)" in row
    assert "`forward_kl`" in row
