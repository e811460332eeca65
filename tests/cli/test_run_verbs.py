"""`run`, `label` and `demo`: what they print, and the code they end with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from limbeck.cli import run as run_module
from limbeck.cli.main import build
from limbeck.cli.watching import line, watch
from limbeck.files import cache_home
from limbeck.pipeline import students
from limbeck.pipeline.events import Advanced, Ended, Noted, Started

RECIPE = """\
name: verbs
data: {kind: digits, validation: 100, test: 100, labelled: 50, limit: 200}
teacher:
  model: {kind: mlp, width: 16, depth: 1}
  training: {steps: 20, batch_examples: 32, optimizer: {kind: adamw, learning_rate: 0.01}}
student: {model: {kind: linear}}
method: {kd: {temperature: 4}, ce: {}}
training: {steps: 5, batch_examples: 32, labelled_share: 0.25}
seeds: [0]
controls: [no-teacher]
evaluation: {bootstrap: 100, robustness: false}
export: {formats: []}
plan: {}
"""


def limbeck(*arguments: str) -> Result:
    return CliRunner().invoke(build(arguments[0]), list(arguments))


@pytest.fixture
def cache() -> Path:
    return cache_home()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verbs.yaml").write_text(RECIPE)
    monkeypatch.setattr(students, "_side_by_side", students._in_turn)


def test_run_ends_with_a_table_and_the_page(tmp_path: Path) -> None:
    result = limbeck("run", "verbs.yaml")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "runs/verbs/report.html"
    for part in ("teacher", "student", "no-teacher", "accuracy"):
        assert part in result.stdout
    report = json.loads((tmp_path / "runs/verbs/report.json").read_text())
    assert report["summary"] in result.stdout
    again = limbeck("run", "verbs.yaml", "--json")
    assert json.loads(again.stdout) == report


def test_a_gate_that_is_missed_ends_with_one_after_everything_is_written(tmp_path: Path) -> None:
    result = limbeck("run", "verbs.yaml", "--set", "gate.retention=1.5", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["gate"] == {"retention": 1.5, "passed": False}
    last = result.stderr.splitlines()[-1]
    assert last.startswith("gate.retention asks for at least 1.5; the interval's lower end is ")
    assert (tmp_path / "runs/verbs/report.html").exists()
    report = json.loads((tmp_path / "runs/verbs/report.json").read_text())
    assert report["gate"] == {"retention": 1.5, "passed": False}
    passed = limbeck("run", "verbs.yaml", "--set", "gate.retention=0.001")
    low = report["retention"]["low"]
    assert passed.exit_code == (0 if low >= 0.001 else 1)


def test_until_stops_after_a_stage_and_refuses_an_unknown_one(tmp_path: Path) -> None:
    result = limbeck("run", "verbs.yaml", "--until", "teacher", "--json")
    assert result.exit_code == 0
    stages = json.loads((tmp_path / "runs/verbs/run.json").read_text())["stages"]
    assert json.loads(result.stdout) == stages
    assert list(stages) == ["check", "plan", "teacher"]
    wrong = limbeck("run", "verbs.yaml", "--until", "lable")
    assert wrong.exit_code == 2
    assert "label" in wrong.stderr


def test_label_leaves_a_store_and_says_where(tmp_path: Path, cache: Path) -> None:
    result = limbeck("label", "verbs.yaml", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["records"] == facts["asked"] == 200
    assert Path(facts["path"]).is_relative_to(cache)
    again = limbeck("label", "verbs.yaml")
    assert again.stdout.strip() == facts["path"]
    assert not (tmp_path / "runs/verbs/student").exists()


def test_a_run_that_breaks_ends_with_three(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("the machine is on fire")

    monkeypatch.setattr(run_module, "events", broken)
    result = limbeck("run", "verbs.yaml")
    assert result.exit_code == 3
    assert "the machine is on fire" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_training_that_diverges_says_where() -> None:
    result = limbeck(
        "run", "verbs.yaml",
        "--set", "training.optimizer={kind: sgd, learning_rate: 1.0e+30}", "--set", "training.steps=40",
    )  # fmt: skip
    assert result.exit_code == 3
    last = result.stderr.splitlines()[-1]
    assert "step" in last
    assert "learning_rate" in last


def test_every_event_has_a_line() -> None:
    told = [
        Started("label"),
        Advanced("label", "answers", 3, 10, 200.0, {"kd": 0.5}),
        Noted("label", "slow", warning=True),
        Ended("label", 1.25),
        Ended("label", 1.25, reused=True),
    ]
    assert [line(event) for event in told] == [
        "label ...",
        "  answers 3/10 kd 0.5000 200 examples/s",
        "  warning: slow",
        "label done in 1.2 s",
        "label found finished",
    ]


def test_plain_progress_shows_a_jobs_end_and_not_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    watch(Advanced("train", "student", done, 100) for done in range(101))
    lines = capsys.readouterr().err.splitlines()
    assert "student 100/100" in lines[-1]
    assert len(lines) <= 3
