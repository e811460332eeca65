"""``limbeck run --profile`` says where the time went, leaves a trace, and changes no bit of the result."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.pipeline.profiling import TRACED_STEPS, WARM_UP_STEPS, Profiled

PARTS = {
    "data",
    "teacher",
    "student forward",
    "loss",
    "backward",
    "optimizer",
    "validation",
    "checkpoint",
    "other",
}


def check(out: Path, weights: dict[str, str], expected: dict[str, str]) -> None:
    assert weights == expected
    records = {file.stem: json.loads(file.read_text()) for file in (out / "profile").glob("*.json")}
    assert records.keys() == weights.keys() - {"shipped"}
    for job, record in records.items():
        parts = record["parts"]
        assert parts.keys() == PARTS
        assert sum(parts.values()) == pytest.approx(record["seconds"], rel=1e-3)
        worked = ["data", "student forward", "loss", "backward", "optimizer", "validation"]
        worked += ["teacher"] if job.startswith("student") else []
        assert all(parts[name] > 0 for name in worked)
        trace = out / "profile" / f"{job}.trace.json.gz"
        assert trace.stat().st_size < 2_000_000
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
        names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
        assert names.count("limbeck: student forward") == TRACED_STEPS
        assert "limbeck: validation" not in names
    seconds = sum(record["seconds"] for record in records.values())
    other = sum(record["parts"]["other"] for record in records.values())
    assert (
        other < 0.5 * seconds
    )  # of all jobs: each takes tenths of a second, and a busy machine interrupts one


@pytest.mark.usefixtures("in_turn")
def test_says_where_the_time_went_and_changes_nothing(limbeck: Any, quick: Any, tmp_path: Path) -> None:
    settings = [part for line in QUICK for part in ("--set", line)]
    done = limbeck(
        "run", str(quick.recipe), "--out", str(tmp_path / "run"), "--until", "distil", "--profile", *settings
    )
    assert done.exit_code == 0, done.output
    place = type(quick)(quick.recipe, tmp_path / "run", quick.cache)
    check(place.out, place.weights(), quick.weights())
    row = next(line for line in done.stdout.splitlines() if line.startswith("student.choice0.seed0"))
    assert sum(float(word) for word in row.split()[3:]) == pytest.approx(100, abs=0.5)
    assert "ui.perfetto.dev" in done.stdout


QUICK = ("controls=[no-teacher]", "export.formats=[]", "evaluation.robustness=false")


@pytest.mark.long
def test_worker_processes_are_profiled_too(limbeck: Any, recipe: Path, finished: Any, tmp_path: Path) -> None:
    done = limbeck("run", str(recipe), "--out", str(tmp_path / "run"), "--until", "distil", "--profile")
    assert done.exit_code == 0, done.output
    place = type(finished)(recipe, tmp_path / "run", finished.cache)
    check(place.out, place.weights(), finished.weights())


@pytest.mark.usefixtures("in_turn")
def test_a_finished_run_has_nothing_to_profile(limbeck: Any, again: Any) -> None:
    settings = [part for line in QUICK for part in ("--set", line)]
    done = limbeck(
        "run", str(again.recipe), "--out", str(again.out), "--until", "distil", "--profile", *settings
    )
    assert done.exit_code == 0, done.output
    assert "all were found finished" in done.stdout


@pytest.mark.parametrize(
    ("first", "last", "every", "warm", "traced"),
    [
        (1, 40, 100, WARM_UP_STEPS, 3),
        (1, 40, 6, 6, 3),  # a validation after step 6 stands before the traced steps, not among them
        (4, 40, 10, 7, 3),
        (1, 4, 100, 1, 3),
        (7, 8, 100, 0, 2),
    ],
)
def test_which_steps_are_traced(first: int, last: int, every: int, warm: int, traced: int) -> None:
    steps = range(first, last + 1)
    found = Profiled(Path(), "job", torch.device("cpu"), steps=steps, evaluate_every_steps=every)
    assert (found._warm, found._traced) == (warm, traced)
