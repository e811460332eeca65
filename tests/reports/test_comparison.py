"""The page of several runs: every file, the front, and a warning where data differ."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from limbeck.reports import write_comparison


def entry(run: str, metric: float, **rest: Any) -> dict[str, Any]:
    plain = {
        "file": "model.onnx",
        "bytes": 90_000,
        "p50_ms": 0.03,
        "retention": 0.97,
        "verdict": "beats",
        "data": "d1",
    }
    return {**plain, "run": run, "metric": metric, "front": False, **rest}


def page(entries: list[dict[str, Any]], folder: Path) -> str:
    write_comparison(entries, folder / "page.html")
    return (folder / "page.html").read_text()


def data(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text)
    assert found
    charts: dict[str, Any] = json.loads(found[1])
    return charts


def test_every_file_and_the_front_are_shown(tmp_path: Path) -> None:
    text = page([entry("runs/a", 0.91, front=True), entry("runs/b", 0.9)], tmp_path)
    assert "0.9100" in text
    assert "0.9000" in text
    points = data(text)["size"]["points"]
    assert [(point["name"], point["front"]) for point in points] == [("a", True), ("b", False)]


def test_runs_of_one_name_keep_as_much_of_their_folders_as_tells_them_apart(tmp_path: Path) -> None:
    text = page([entry("x/old/a", 0.9), entry("x/new/a", 0.8)], tmp_path)
    assert {point["name"] for point in data(text)["size"]["points"]} == {"old/a", "new/a"}


def test_different_data_is_said(tmp_path: Path) -> None:
    warning = "These runs are on different data"
    assert warning not in page([entry("a", 0.9), entry("b", 0.9)], tmp_path)
    assert warning in page([entry("a", 0.9), entry("b", 0.9, data="d2")], tmp_path)


def test_nothing_known_but_the_metric_is_enough(tmp_path: Path) -> None:
    text = page([entry("a", 0.9, p50_ms=None, retention=None, verdict=None)], tmp_path)
    assert set(data(text)) == {"size"}
    assert "No file to compare" in page([], tmp_path)


def test_names_are_escaped(tmp_path: Path) -> None:
    text = page([entry("<script>", 0.9, file="<img src=x>")], tmp_path)
    assert "<img src=x>" not in text
    assert "&lt;img src=x&gt;" in text
    assert "<script>" not in text.partition("<script type")[0]
