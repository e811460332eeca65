"""The form of a benchmark's results, and the peers that it names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import form

ROOT = Path(__file__).resolve().parents[2]


def test_a_ratio_is_the_median_of_pairs_within_its_interval() -> None:
    found = form.ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0], better="higher", goal=2)
    assert found["value"] == 2.0
    assert found["low"] <= found["value"] <= found["high"]
    assert (found["unit"], found["repetitions"], found["goal"]) == ("ratio", 3, 2)


def test_a_result_says_where_and_with_what_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "RESULTS", tmp_path)
    path = form.write("engine", {"speed": form.ratio([1.0], [2.0], better="lower")}, notes=["a note"])
    found = json.loads(path.read_text())
    assert found["command"] == "make bench NAME=engine"
    assert {"commit", "date", "hardware", "versions", "figures", "notes"} <= set(found)


@pytest.mark.parametrize("name", ["peers.txt", "peers-older.txt"])
def test_peers_are_pinned(name: str) -> None:
    lines = [
        line for line in (ROOT / "benchmarks" / name).read_text().splitlines() if not line.startswith("#")
    ]
    assert lines
    assert all(re.fullmatch(r"[a-z]+==[\d.]+", line) for line in lines)
