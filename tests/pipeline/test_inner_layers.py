"""Whole runs with methods that read inside the teacher, ask it about every view, or ship more than the student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck as lb

SHORT = (
    "controls=[no-teacher]",
    "evaluation.robustness=false",
    "seeds=[0]",
    "plan.workers=1",
    "export.formats=[onnx]",
)


def run(limbeck: Any, recipe: Path, out: Path, *changes: str) -> Any:
    given = [part for change in (*SHORT, *changes) for part in ("--set", change)]
    result = limbeck("run", str(recipe), "--out", str(out), *given)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "report.json").read_text())


def test_a_teacher_is_asked_about_each_view_and_inside(
    recipe: Path, tmp_path: Path, limbeck: Any, in_turn: None
) -> None:
    out = tmp_path / "run"
    report = run(limbeck, recipe, out, "teacher.view=same", "method={hint: {}, relational: {}, ce: {}}")
    facts = json.loads((out / "targets.json").read_text())
    assert facts["path"] is None
    assert facts["asked"] == 0
    assert report["teacher"]["view"] == "same"
    found = json.loads((out / "check.json").read_text())
    (pairs,) = [entry["text"] for entry in found if entry["subject"] == "layers"]
    assert "stages.1 with stages.1" in pairs
    weights = (out / "checkpoints/student.choice0.seed0/result.json").read_text()
    again = run(limbeck, recipe, out, "teacher.view=same", "method={hint: {}, relational: {}, ce: {}}")
    assert again["student"] == report["student"]
    assert (out / "checkpoints/student.choice0.seed0/result.json").read_text() == weights


def test_moved_inner_layers_are_warned_of(recipe: Path, limbeck: Any) -> None:
    result = limbeck("check", str(recipe), "--set", "method={hint: {}}")
    assert result.exit_code == 0
    assert "set teacher.view: same" in result.output


@pytest.mark.long
def test_what_ships_is_measured_counted_and_loaded_with_what_the_method_adds(
    recipe: Path, tmp_path: Path, limbeck: Any, in_turn: None
) -> None:
    out = tmp_path / "run"
    report = run(limbeck, recipe, out, "method={reuse: {}}")
    assert report["student"]["parameters"] > report["baseline"]["parameters"]
    served = lb.load(out).student
    assert sum(each.numel() for each in served.module.parameters()) == report["student"]["parameters"]
    test = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    import onnxruntime

    session = onnxruntime.InferenceSession(out / "exports/model.onnx")
    (answers,) = session.run(None, {session.get_inputs()[0].name: test})
    np.testing.assert_allclose(served.logits(test), answers, atol=1e-3)
