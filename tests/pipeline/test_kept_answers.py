"""Whole runs from stores that keep a few classes, or inner layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from limbeck.pipeline.answering import teacher_for
from limbeck.pipeline.context import Context
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.students import student_arms
from limbeck.teachers import LiveTeacher, StoredTeacher
from limbeck.teachers.store import inspect

SHORT = (
    "controls=[]", "seeds=[0]", "export.formats=[]", "training.steps=4", "teacher.training.steps=8",
    "plan={workers: 1}",
)  # fmt: skip


def started(limbeck: Any, recipe: Path, out: Path, *changes: str) -> Any:
    given = [part for change in (*SHORT, *changes) for part in ("--set", change)]
    return limbeck("run", str(recipe), "--out", str(out), "--until", "distil", *given)


def store_of(out: Path) -> Path:
    return Path(json.loads((out / "targets.json").read_text())["path"])


def test_a_student_learns_from_few_classes_and_the_labels_of_the_likeliest(
    recipe: Path, tmp_path: Path, limbeck: Any, in_turn: None
) -> None:
    out = tmp_path / "run"
    changes = (
        "teacher.keep={kind: top-k-sampled, k: 3, draws: 4}",
        "method={top-k: {k: 3}, sampled: {draws: 4}, ce: {weight: 0.1}}",
        "controls=[pseudo-labels]",
    )
    result = started(limbeck, recipe, out, *changes)
    assert result.exit_code == 0, result.stderr
    summary = inspect(store_of(out))
    assert summary.unit_bytes == 3 * (2 + 2) + 2 + 4 * 2
    assert summary.error is not None
    assert summary.error.kl is not None
    assert summary.error.kl > 0
    shown = limbeck("targets", "inspect", summary.name).stdout
    assert "unit_bytes" in shown
    assert "error: kl" in shown
    verified = limbeck("targets", "verify", summary.name, "--run", str(out))
    assert verified.exit_code == 0, verified.stderr
    assert "nats" in verified.stdout


@pytest.mark.parametrize("dtype", ["float32", pytest.param("int8", marks=pytest.mark.long)])
def test_inner_layers_are_read_from_the_store_and_not_asked_for(
    dtype: str, recipe: Path, tmp_path: Path, limbeck: Any, in_turn: None
) -> None:
    out = tmp_path / "run"
    taps = f"teacher.keep_taps={{places: [stages, penultimate], dtype: {dtype}}}"
    method = "method={hint: {}, relational: {}, ce: {}}"
    result = started(limbeck, recipe, out, taps, method, "augmentation=null")
    assert result.exit_code == 0, result.stderr
    context = Context.reopened(RunFolder(out))
    arm = student_arms(context.recipe)["student"]
    teacher = teacher_for(context, arm, arm.method)
    assert isinstance(teacher, StoredTeacher)
    assert teacher.offer.taps == ("stages.0", "stages.1", "head@in")
    assert inspect(store_of(out)).error is not None
    without = context.recipe.model_copy(
        update={"teacher": context.recipe.teacher.model_copy(update={"keep_taps": None})}
    )
    assert isinstance(teacher_for(Context(without, context.folder), arm, arm.method), LiveTeacher)


def test_a_layer_that_will_not_be_stored_is_refused_before_anything_is_trained(
    recipe: Path, limbeck: Any
) -> None:
    plain = ("--set", "export.formats=[]", "--set", "method={hint: {}}")
    result = limbeck("check", str(recipe), *plain, "--set", "teacher.keep_taps.places=[penultimate]")
    assert result.exit_code == 2
    text = " ".join(result.stderr.split())
    assert "reads stages.0, stages.1 of the teacher, and teacher.keep_taps stores head@in" in text
    unknown = limbeck("check", str(recipe), *plain, "--set", "teacher.keep_taps.places=[nowhere]")
    assert unknown.exit_code == 2
    assert "teacher has no layer 'nowhere'" in unknown.stderr


def test_few_classes_are_refused_for_a_method_that_needs_all(recipe: Path, limbeck: Any) -> None:
    result = limbeck("check", str(recipe), "--set", "teacher.keep={kind: top-k, k: 3}")
    assert result.exit_code == 2
    assert "but kd reads whole logits" in " ".join(result.stderr.split())
