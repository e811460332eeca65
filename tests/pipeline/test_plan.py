"""Every choice of the plan can be pinned, is frozen in the run, and is part of the hashes of what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch

from limbeck.pipeline import planning
from limbeck.pipeline.arms import Job
from limbeck.pipeline.context import Context
from limbeck.pipeline.fit import settings_of
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.planning import described, make_plan
from limbeck.pipeline.stages import STAGES
from limbeck.recipe import Execution, Plan, load
from limbeck.taps import compiled
from limbeck.training.products import ProductErrors

OTHER = {"precision": "bf16", "layout": "channels_last", "threads": 2, "matmul": "medium", "compile": "true"}
LATER = {"teacher": {"plan", "teacher", "label"}, "label": {"plan", "label"}, "student": {"plan"}}
"""Stages up to the answers whose hash holds an execution; a student's is in the key of its training."""


def test_every_field_of_an_execution_has_another_value_here() -> None:
    assert OTHER.keys() == Execution.model_fields.keys()


@pytest.mark.parametrize("field", OTHER)
@pytest.mark.parametrize("work", LATER)
def test_every_choice_is_part_of_the_later_stages_hashes(quick: Any, work: str, field: str) -> None:
    changed = load(quick.recipe, overrides=(f"plan.{work}.{field}={OTHER[field]}",))
    context, plain = (Context(recipe, RunFolder(quick.out)) for recipe in (changed, load(quick.recipe)))
    early = [stage for stage in STAGES if stage.name in ("plan", "teacher", "label")]
    differing = {stage.name for stage in early if stage.key(context) != stage.key(plain)}
    assert differing == LATER[work]
    trainings = [settings_of(each, Job("student", 0, 0)) for each in (context, plain)]
    assert (trainings[0] != trainings[1]) == (work == "student")


def test_the_plan_is_frozen_in_the_run(quick: Any) -> None:
    found = quick.read("plan.json")
    assert found["pinned"]
    assert Plan.model_validate(found["plan"]) == load(quick.recipe).plan
    recorded = found["plan"]["student"]
    assert recorded.keys() == Execution.model_fields.keys()


def test_an_older_plan_still_loads() -> None:
    old = {"precision": "bf16", "layout": "channels_last", "threads": 1}
    assert Execution.model_validate(old) == Execution(precision="bf16", layout="channels_last")


def test_says_what_was_chosen() -> None:
    student = Execution(matmul="medium", compile=True, threads=2)
    text = described(Plan(student=student, workers=2))
    assert "students fp32 contiguous medium products compiled, 2 threads, 2 trainings side by side" in text


def test_a_pinned_medium_that_is_not_fp32_is_warned_of(
    quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "product_errors", lambda: ProductErrors(highest=1e-7, medium=2e-4))
    recipe = load(quick.recipe, overrides=("plan.student.matmul=medium",))
    notes = list(make_plan(Context(recipe, RunFolder(tmp_path))))
    assert [note.warning for note in notes] == [False, True]
    assert notes[1].text.startswith(
        "plan.student.matmul is medium, and on this processor that errs by 0.0002"
    )


def test_a_plan_that_compiles_is_refused_early_without_a_compiler(
    limbeck: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    monkeypatch.setenv("CXX", "no-such-compiler")
    settings = ("--out", str(tmp_path / "run"), "--set", "plan.student.compile=true")
    done = limbeck("run", str(recipe), *settings)
    assert done.exit_code == 2
    assert "'no-such-compiler'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("in_turn")
@pytest.mark.long
def test_a_compiled_run_ships_a_student_as_any_other(
    limbeck: Any, quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # what is traced is no tensor to it
    settings = ("controls=[no-teacher]", "export.formats=[onnx]", "evaluation.robustness=false")
    words = [word for line in (*settings, "plan.student.compile=true") for word in ("--set", line)]
    done = limbeck("run", str(quick.recipe), "--out", str(tmp_path / "run"), *words)
    torch.compiler.reset()
    assert done.exit_code == 0, done.output
    place = type(quick)(quick.recipe, tmp_path / "run", quick.cache)
    students = [place.read("report.json")["student"], quick.read("report.json")["student"]]
    assert students[0]["parameters"] == students[1]["parameters"]
    assert students[0]["metrics"]["accuracy"] == pytest.approx(students[1]["metrics"]["accuracy"], abs=0.05)
