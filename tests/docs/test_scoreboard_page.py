"""The scoreboard's page: what it says of a made-up board."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scoreboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import scoreboard

    yield scoreboard
    for name in ("figures", "scoreboard", "blocks"):
        sys.modules.pop(name, None)


def against(difference: float, verdict: str) -> dict[str, Any]:
    return {"difference": difference, "verdict": verdict}


def row(method: str, metric: float, **other: Any) -> dict[str, Any]:
    plain = {
        "method": method, "pair": "cnn-cnn", "column": "published", "control": False, "uses": [method, "ce"],
        "seeds": 3, "metric": metric, "low": metric - 0.01, "high": metric + 0.01, "verdict": "open",
        "seconds_per_epoch": 2.31, "peak_mb": 451.6, "against_no_teacher": against(0.01, "open"),
        "against_tuned_kd": against(0.001, "open"), "against_random_teacher": against(0.02, "beats"),
        "against_best": against(-0.01, "open"),
    }  # fmt: skip
    return {**plain, **other}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    control = {"control": True, "against_no_teacher": None, "against_random_teacher": None, "verdict": None}
    rows = [
        row("similarity", 0.79, against_random_teacher=against(0.001, "open")),
        row("kd-1", 0.81, uses=["kd", "ce"], verdict="beats"),
        row("hint", 0.83, verdict="beats", against_tuned_kd=against(0.02, "beats"), against_best=None),
        row("no-teacher", 0.78, **control, uses=["ce"]),
        row("tuned-kd", 0.8, **control, uses=["kd", "ce"]),
        row(
            "generator", 0.7, column="data-free", uses=["kd"], making_seconds=99.0, against_random_teacher=None,
            share_of_teacher={"value": 0.91, "low": 0.9, "high": 0.92},
        ),
    ]  # fmt: skip
    board = {
        "name": "scoreboard", "commit": "0" * 40, "date": "2030-01-01", "command": "make scoreboard",
        "hardware": {"cpu": "a processor"}, "versions": {"torch": "2.13.0"},
        "figures": {"methods_on_the_board": {"value": 3, "unit": "methods", "better": "higher", "goal": 40}},
        "teachers": {"cnn-cnn": 0.9168}, "rows": rows, "trainings": {"done": 5, "planned": 9},
        "failed": [{"training": "cnn-cnn ordinal published x1 seed 0", "error": "ValueError: no"}],
        "setting": {
            "trials": [1.0, 0.25, 4.0], "seeds": [0, 1, 2],
            "pairs": {"cnn-cnn": {"steps": 7, "batch_examples": 64, "labels": 5000}},
            "data_free": {"generator": {"training": {"steps": 1200}}},
            "does_not_apply": [["overhaul", "vit-cnn", "it needs a ReLU"]],
        },
    }  # fmt: skip
    (tmp_path / "scoreboard.json").write_text(json.dumps(board))
    return tmp_path


def test_the_budget_and_what_does_not_apply_are_said(scoreboard: ModuleType, results: Path) -> None:
    page = scoreboard.page(results)
    assert "7 steps of 64 on 5,000 labelled images, with 3 seeds" in page
    assert "`overhaul` does not apply to transformer to CNN: it needs a ReLU." in page


def test_controls_come_first_and_each_part_is_sorted(scoreboard: ModuleType, results: Path) -> None:
    page = scoreboard.page(results)
    table = page[page.index("## CNN to CNN") : page.index("## Without data")]
    places = [
        table.index(f"| {name} |")
        for name in ("**tuned-kd**", "**no-teacher**", "hint", "kd-1", "similarity")
    ]
    assert places == sorted(places)
    assert (
        "| hint | 0.8300 | 0.8200 to 0.8400 | +0.0100 open | +0.0200 beats | +0.0200 beats | 3 | 2.3 | 452 |"
        in table
    )


def test_the_reading_follows_from_the_numbers(scoreboard: ModuleType, results: Path) -> None:
    page = scoreboard.page(results)
    assert "5 of 9 trainings are done" in page
    assert "CNN to CNN: 2 of 3 methods are above the student without a teacher" in page
    assert "against tuned KD: 1 (hint) above it, 0 below it, and 2 of 3 cannot be told from it" in page
    assert "the highest mean is that of hint; 2 further methods cannot be told from it" in page
    assert "2 of 3 methods beat themselves with a random teacher. Not shown to: similarity." in page
    assert "ValueError: no" in page
    assert "| generator | 1,200 | 0.7000 (0.6900 to 0.7100) | 0.910 (0.900 to 0.920) | 3 | 99 |" in page
    assert "| `methods_on_the_board` | 3 |  |  | methods | higher | 40 | no |" in page


def test_a_methods_page_has_its_rows_alone(scoreboard: ModuleType, results: Path) -> None:
    assert "`kd-1`" in scoreboard.of_method("kd", results)
    assert "`tuned-kd`" not in scoreboard.of_method("kd", results)
    assert "`kd-1`" not in scoreboard.of_method("hint", results)
    assert scoreboard.of_method("ordinal", results) == ""


def test_without_a_board_the_page_says_how_to_make_one(scoreboard: ModuleType, tmp_path: Path) -> None:
    assert "make scoreboard" in scoreboard.page(tmp_path)
    assert scoreboard.of_method("kd", tmp_path) == ""
