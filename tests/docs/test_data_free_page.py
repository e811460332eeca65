"""What the page on distilling without data says is so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data-free.md").read_text(encoding="utf-8")


def test_the_example_prints_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"<!-- example -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    said = re.search(r"print\(.*#\s(.*)", PAGE)
    assert code is not None
    assert said is not None
    (tmp_path / "page.py").write_text(code[1])
    runpy.run_path(str(tmp_path / "page.py"))
    assert capsys.readouterr().out.strip() == said[1]
