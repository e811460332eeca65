"""Runs side by side: their files timed in one process, and the ones that nothing beats."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limbeck.errors import UserError
from limbeck.pipeline import compare
from limbeck.pipeline.bench import bench
from limbeck.pipeline.compare import Entry, leaderboard


def entry(name: str, metric: float, size: int, p50_ms: float | None, data: str = "x") -> Entry:
    return Entry("run", name, metric, size, p50_ms, None, None, data)


def marked(*entries: Entry) -> list[str]:
    return [one.file for one in (compare._marked(each, entries) for each in entries) if one.front]


def test_the_front_holds_what_nothing_beats_in_all_three() -> None:
    best, small = entry("best", 0.9, 100, 2.0), entry("small", 0.8, 10, 2.0)
    fast, worse = entry("fast", 0.7, 50, 0.1), entry("worse", 0.7, 60, 2.0)
    assert marked(best, small, fast, worse) == ["best", "small", "fast"]


def test_equal_files_both_stand_in_the_front() -> None:
    assert marked(entry("a", 0.9, 10, 1.0), entry("b", 0.9, 10, 1.0)) == ["a", "b"]


def test_other_data_cannot_beat() -> None:
    assert marked(entry("a", 0.9, 10, 1.0), entry("b", 0.8, 20, 2.0, data="y")) == ["a", "b"]


def test_the_leaderboard_has_the_numbers_of_the_reports(finished: Any) -> None:
    [row] = leaderboard([finished.out])
    report = finished.read("report.json")
    [file] = [file for file in report["exports"] if file["model"] == "student"]
    assert (row.metric, row.bytes) == (file["metrics"]["accuracy"], file["bytes"])
    assert row.retention == report["retention"]["value"]
    assert row.verdict == report["verdict"]["word"]
    assert row.front
    assert leaderboard([finished.out, finished.out]) == [row, row]
    assert replace(row, front=False) != row


def test_a_run_that_is_not_finished_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"stages": {}}')
    with pytest.raises(UserError, match=r"no report\.json yet"):
        leaderboard([tmp_path])


def test_files_of_two_runs_are_timed_together(finished: Any, tmp_path: Path) -> None:
    shutil.copytree(finished.out, tmp_path / "other")
    found = list(bench([finished.out, tmp_path / "other"], repetitions=3))
    assert [(row.run, row.path) for row in found] == [
        (str(finished.out), "model.onnx"),
        (str(tmp_path / "other"), "model.onnx"),
    ]
    for row in found:
        assert 0 < row.efficiency.p50_ms <= row.efficiency.p95_ms
        assert row.efficiency.examples_per_second > 0
        assert row.efficiency.peak_rss_mb > 0


def test_a_run_without_files_cannot_be_timed(quick: Any) -> None:
    with pytest.raises(UserError, match="has no ONNX file"):
        list(bench([quick.out], repetitions=3))


def test_the_commands_print_json_and_write_a_page(limbeck: Any, finished: Any, tmp_path: Path) -> None:
    page = tmp_path / "compare.html"
    result = limbeck("compare", str(finished.out), "--json", "--out", str(page))
    assert result.exit_code == 0, result.stderr
    assert [row["file"] for row in json.loads(result.stdout)] == ["model.onnx"]
    assert "<html" in page.read_text()
    timed = limbeck("bench", str(finished.out), "--repetitions", "3", "--json")
    assert timed.exit_code == 0, timed.stderr
    found = json.loads(timed.stdout)
    assert found["threads"] == 1
    assert [row["file"] for row in found["files"]] == ["model.onnx"]


def test_the_tables_name_every_file(limbeck: Any, finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for verb, more in (("compare", ()), ("bench", ("--repetitions", "3"))):
        result = limbeck(verb, str(finished.out), *more)
        assert result.exit_code == 0, result.stderr
        assert "model.onnx" in result.stdout.replace("\n", "")
