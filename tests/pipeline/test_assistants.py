"""A chain of assistants is so many distillations one after another, and each of them can be stopped and shared."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

import limbeck as lb
from limbeck.pipeline import assistants, students, teacher
from limbeck.pipeline.answering import answering_module, live, teacher_for
from limbeck.pipeline.arms import Job, arm_of, student_arms
from limbeck.pipeline.check import findings
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Ended, Event, Started
from limbeck.pipeline.fit import fit, fit_key
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.preview import preview
from limbeck.pipeline.run import events
from limbeck.recipe import load
from limbeck.teachers import LiveTeacher, StoredTeacher
from limbeck.types import CLEAN, Batch

STUDENT = "{kind: separable, width: 8, depth: 1, stages: 2, stem_stride: 1}"
MIDDLE = "{kind: residual, width: 6, depth: 1, stages: 2}"
TRAINING = """{steps: 24, batch_examples: 64, labelled_share: 1.0, evaluate_every_steps: 8,
  optimizer: {kind: adamw, learning_rate: 0.05}, checkpoint_seconds: 0.05}"""
CHAIN = (
    f"assistants=[{{model: {STUDENT}}}, "
    f"{{model: {STUDENT}, method: {{kd: {{weight: 0}}, ce: {{}}}}, training: {TRAINING}}}, {{model: {MIDDLE}}}]"
)
QUICK = ("export.formats=[]", "evaluation.robustness=false", "controls=[no-teacher, direct]")
SHORT = (
    "teacher.training.steps=4",
    "training.steps=3",
    "training.evaluate_every_steps=2",
    "training.checkpoint_seconds=1.0e-9",
    "seeds=[0]",
    "controls=[]",
    "export.formats=[]",
    f"assistants=[{{model: {MIDDLE}}}, {{model: {STUDENT}}}]",
)
JOBS = ("assistant-1.choice0.seed0", "assistant-2.choice0.seed0", "assistant-3.choice0.seed0")


@dataclass
class Ran:
    """A run folder with a cache of its own."""

    base: Path

    @property
    def out(self) -> Path:
        return self.base / "run"

    @property
    def context(self) -> Context:
        """The run as another process would find it."""
        return Context.reopened(RunFolder(self.out))

    def go(self, text: str, *changes: str, until: str | None = None) -> list[Event]:
        """Run a recipe here, or go on with it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LIMBECK_CACHE", str(self.base / "cache"))
            patch.setattr(students, "_side_by_side", students._in_turn)
            return list(events(load(text, overrides=changes), self.out, until=until))

    def weights(self) -> dict[str, str]:
        """The hash of every training's weights."""
        results = self.out.glob("checkpoints/*/result.json")
        return {file.parent.name: json.loads(file.read_text())["weights"] for file in results}

    def key(self, job: str) -> str:
        """The key under which a finished training is kept."""
        return str(json.loads((self.out / "checkpoints" / job / "result.json").read_text())["key"])

    def copy(self, base: Path) -> Ran:
        """The same run and cache elsewhere, to change."""
        shutil.copytree(self.base, base, dirs_exist_ok=True)
        for file in (base / "run").glob("targets*.json"):
            facts = json.loads(file.read_text())
            facts["path"] = str(base / "cache" / "targets" / facts["key"])
            file.write_text(json.dumps(facts))
        return Ran(base)


@pytest.fixture(scope="module")
def chained(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A whole run by way of three assistants; look, don't touch."""
    ran = Ran(tmp_path_factory.mktemp("chained"))
    ran.go(tiny, CHAIN, *QUICK)
    return ran


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trainings that were begun, in order."""
    names: list[str] = []

    def counted(context: Context, name: str) -> Iterator[Event]:
        names.append(name)
        return fit(context, name)

    for module in (assistants, students, teacher):
        monkeypatch.setattr(module, "fit", counted)
    return names


def reused(happened: list[Event]) -> set[str]:
    return {event.stage for event in happened if isinstance(event, Ended) and event.reused}


def test_a_chain_is_one_distillation_after_another(chained: Ran, tiny: str, tmp_path: Path) -> None:
    """Its last two links again, each as a run whose teacher is given."""
    for number, (model, learner) in enumerate([(STUDENT, MIDDLE), (MIDDLE, STUDENT)]):
        ran = Ran(tmp_path / str(number))
        trained = chained.out / "checkpoints" / JOBS[number + 1] / "weights.safetensors"
        changes = (f"teacher={{model: {model}, weights: {trained}}}", f"student.model={learner}")
        ran.go(tiny, *changes, *QUICK[:2], "controls=[]", "seeds=[0]", until="distil")
        linked = ([*JOBS, "student.choice0.seed0"])[number + 2]
        assert ran.weights()["student.choice0.seed0"] == chained.weights()[linked]
        assert ran.key("student.choice0.seed0") == chained.key(linked)


@pytest.mark.long
def test_a_student_that_sees_other_views_asks_its_assistant_about_them(
    chained: Ran, tiny: str, tmp_path: Path
) -> None:
    whole, second = Ran(tmp_path / "whole"), Ran(tmp_path / "second")
    common = ("controls=[]", "seeds=[0]", "training.steps=6", *QUICK[:2])
    teacher_file = chained.out / "teacher/model.safetensors"
    given = "teacher={{model: {}, weights: {}, view: same}}"
    large = "{kind: residual, width: 8, depth: 1, stages: 2}"
    chain = f"assistants=[{{model: {MIDDLE}}}]"
    whole.go(tiny, *common, chain, given.format(large, teacher_file), until="distil")
    trained = whole.out / "checkpoints" / JOBS[0] / "weights.safetensors"
    second.go(tiny, *common, given.format(MIDDLE, trained), until="distil")
    assert whole.weights()["student.choice0.seed0"] == second.weights()["student.choice0.seed0"]
    assert not list(whole.base.glob("cache/targets/*/answers.bin"))


@pytest.mark.long
def test_the_direct_control_is_the_student_of_a_run_without_assistants(chained: Ran, quick: Any) -> None:
    with_them, without = chained.weights(), quick.weights()
    for seed in (0, 1):
        assert with_them[f"direct.choice0.seed{seed}"] == without[f"student.choice0.seed{seed}"]
        assert with_them[f"no-teacher.choice0.seed{seed}"] == without[f"no-teacher.choice0.seed{seed}"]
        assert with_them[f"student.choice0.seed{seed}"] != without[f"student.choice0.seed{seed}"]
    kept = json.loads((quick.out / "checkpoints/student.choice0.seed0/result.json").read_text())["key"]
    assert chained.key("direct.choice0.seed0") == kept


def test_a_run_without_assistants_does_not_have_the_stage(quick: Any) -> None:
    assert "assistants" not in quick.read("run.json")["stages"]
    assert "assistants" not in quick.read("report.json")["seconds"]
    assert quick.read("report.json")["assistants"] == []


def test_a_born_again_generation_is_the_student_itself(chained: Ran) -> None:
    found = chained.weights()
    assert found["assistant-1.choice0.seed0"] == found["direct.choice0.seed0"]


def test_a_generation_that_ignores_its_teacher_is_the_baseline(chained: Ran) -> None:
    found = chained.weights()
    assert found["assistant-2.choice0.seed0"] == found["no-teacher.choice0.seed0"]


def test_each_is_answered_by_the_one_before_it(chained: Ran) -> None:
    context = chained.context
    answerers = [arm_of(context.recipe, Job.parse(job)).answerer for job in JOBS]
    assert answerers == ["teacher", "assistant-1", "assistant-2"]
    arms = student_arms(context.recipe)
    assert arms["student"].answerer == "assistant-3"
    assert arms["direct"].answerer == "teacher"


def test_a_student_is_given_the_stored_answers_of_its_assistant(chained: Ran) -> None:
    context = chained.context
    arm = student_arms(context.recipe)["student"]
    stored = teacher_for(context, arm, arm.method)
    assert isinstance(stored, StoredTeacher)
    module = answering_module(context, "assistant-3")
    rows = torch.arange(64)
    ids, clean = context.splits.train.ids[rows], torch.full((64,), CLEAN)
    inputs = context.preprocessing.apply(context.splits.train.raw(rows))
    with torch.no_grad():
        wanted = module(inputs)
    answers = stored(Batch(ids, inputs, clean, clean)).logits
    torch.testing.assert_close(answers, wanted, rtol=2e-3, atol=2e-3)  # kept as float16
    again = live(context, context.plan.label, "assistant-3")
    assert again.digest == stored.digest != context.stored_teacher().digest


def test_a_method_that_needs_the_model_is_given_the_assistants(
    chained: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = chained.context
    arm = student_arms(context.recipe)["student"]
    monkeypatch.setattr("limbeck.pipeline.answering.asked_live", lambda *_: True)
    found = teacher_for(context, arm, arm.method)
    assert isinstance(found, LiveTeacher)
    assert found.digest == live(context, context.plan.label, "assistant-3").digest


def test_another_process_finds_every_training_done(chained: Ran) -> None:
    context = chained.context
    for job in chained.weights():
        assert fit_key(context, Job.parse(job)) == chained.key(job)


def test_the_report_lists_the_assistants(chained: Ran) -> None:
    report = lb.load(chained.out).report
    assert [one.name for one in report.assistants] == ["assistant-1", "assistant-2", "assistant-3"]
    assert [one.learned_from for one in report.assistants] == ["teacher", "assistant-1", "assistant-2"]
    context = chained.context
    test = context.splits.test
    inputs = context.preprocessing.apply(test.raw(torch.arange(len(test))))
    for one in report.assistants:
        module = answering_module(context, one.name)
        assert one.parameters == sum(weight.numel() for weight in module.parameters())
        with torch.no_grad():
            right = module(inputs).argmax(1) == test.labels
        assert one.metrics["accuracy"] == pytest.approx(float(right.double().mean()))
        result = json.loads(
            (chained.out / "checkpoints" / f"{one.name}.choice0.seed0" / "result.json").read_text()
        )
        assert one.validation == result["validation"]
        assert f"{one.name} ({one.parameters:,} parameters" in report.summary
    assert report.seconds["assistants"] > 0
    assert sum(value for name, value in report.seconds.items() if name != "total") == pytest.approx(
        report.seconds["total"], abs=0.01
    )


def test_the_report_holds_how_the_assistants_learned(chained: Ran) -> None:
    report = lb.load(chained.out).report
    found = {curve.model: curve for curve in report.curves if curve.model.startswith("assistant")}
    assert list(found) == [one.name for one in report.assistants]
    for one in report.assistants:
        assert max(found[one.name].validation) == one.validation
        assert found[one.name].losses
    assert "assistant-2" in (chained.out / "report.html").read_text()


def test_the_direct_control_is_judged_and_named(chained: Ran) -> None:
    report = lb.load(chained.out).report
    direct = next(control for control in report.controls if control.name == "direct")
    assert [seed.seed for seed in direct.seeds] == [0, 1]
    difference = report.student.metrics["accuracy"] - direct.metrics["accuracy"]
    assert direct.difference == pytest.approx(difference)
    assert "Straight from the teacher" in (chained.out / "report.html").read_text()
    assert set(report.provenance["assistants"]) == {one.name for one in report.assistants}


def test_the_same_command_again_does_nothing(
    chained: Ran, tiny: str, tmp_path: Path, begun: list[str]
) -> None:
    happened = chained.copy(tmp_path).go(tiny, CHAIN, *QUICK)
    assert len(reused(happened)) == 10
    assert not begun


@pytest.mark.long
def test_another_last_assistant_trains_it_and_the_student_alone(
    chained: Ran, tiny: str, tmp_path: Path, begun: list[str]
) -> None:
    ran = chained.copy(tmp_path)
    before = ran.weights()
    happened = ran.go(tiny, CHAIN, *QUICK, "assistants.2.model.width=4", "seeds=[0]", until="distil")
    assert {"plan", "teacher", "label"} <= reused(happened)
    changed = {name for name, weights in ran.weights().items() if weights != before[name]}
    assert changed == {JOBS[2], "student.choice0.seed0"}
    assert begun == [*JOBS, "student.choice0.seed0"]


@pytest.mark.long
def test_another_seed_trains_no_assistant(chained: Ran, tiny: str, tmp_path: Path, begun: list[str]) -> None:
    ran = chained.copy(tmp_path)
    happened = ran.go(tiny, CHAIN, *QUICK, "seeds=[0, 1, 2]", until="distil")
    assert {"teacher", "label", "assistants"} <= reused(happened)
    assert set(begun) == {f"{arm}.choice0.seed2" for arm in ("no-teacher", "direct", "student")}


@pytest.mark.long
def test_removed_answers_are_asked_for_again_where_they_are_needed(
    chained: Ran, tiny: str, tmp_path: Path
) -> None:
    ran = chained.copy(tmp_path)
    before = ran.weights()
    shutil.rmtree(ran.base / "cache")
    assert len(reused(ran.go(tiny, CHAIN, *QUICK))) == 10
    happened = ran.go(tiny, CHAIN, *QUICK, "controls=[]", "seeds=[0, 2]", until="distil")
    assert not {"label", "assistants"} & reused(happened)
    after = ran.weights()
    assert {name: after[name] for name in before} == before


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


def interrupted(ran: Ran, text: str, moment: int | None) -> int:
    """Run, but end just before renaming number ``moment`` of the assistants stage; how many there were."""
    count, watching = 0, False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(ran.base / "cache"))
        patch.setattr(students, "_side_by_side", students._in_turn)

        def counted(rename: Any) -> Any:
            def wrapped(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                if watching and count == moment:
                    raise Killed
                count += watching
                return rename(*arguments, **options)

            return wrapped

        patch.setattr(os, "replace", counted(os.replace))
        patch.setattr(os, "rename", counted(os.rename))
        for event in events(load(text, overrides=SHORT), ran.out, until="distil"):
            if isinstance(event, (Started, Ended)):
                watching = event.stage == "assistants" and isinstance(event, Started)
    return count


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.long)])
def test_stopped_at_any_moment_it_goes_on_to_the_same_weights(stride: int, tiny: str, tmp_path: Path) -> None:
    base = Ran(tmp_path / "base")
    base.go(tiny, *SHORT, until="label")
    whole = base.copy(tmp_path / "whole")
    moments = interrupted(whole, tiny, None)
    assert moments >= 20
    wanted = whole.weights()
    assert {JOBS[0], JOBS[1], "student.choice0.seed0"} <= set(wanted)
    for moment in range(0, moments, stride):
        ran = base.copy(tmp_path / str(moment))
        with pytest.raises(Killed):
            interrupted(ran, tiny, moment)
        ran.go(tiny, *SHORT, until="distil")
        assert ran.weights() == wanted, moment


def test_the_check_begins_every_one_and_asks_for_the_control(tiny: str) -> None:
    said = list(findings(preview(load(tiny, overrides=(CHAIN, *QUICK)))))
    lines = [finding.text for finding in said if finding.subject == "assistants"]
    assert [line.split(":")[0] for line in lines] == ["assistant-1", "assistant-2", "assistant-3"]
    assert lines[2].endswith("learns from assistant-2")
    assert "10 trainings" in next(finding.text for finding in said if finding.subject == "cost")
    warned = list(findings(preview(load(tiny, overrides=(CHAIN, "export.formats=[]")))))
    assert [finding.text for finding in warned if finding.subject == "assistants"][-1].endswith(
        "add direct to controls"
    )


def test_an_assistant_that_does_not_fit_is_refused_before_anything_is_trained(tiny: str) -> None:
    wrong = "assistants=[{model: {kind: vit, patch: 3}}]"
    with pytest.raises(lb.UserError, match="patches of 3 pixels"):
        list(findings(preview(load(tiny, overrides=(wrong, *QUICK)))))


def test_python_takes_the_same_objects(tmp_path: Path, in_turn: None) -> None:
    generator = np.random.default_rng(0)
    train = generator.integers(0, 256, (80, 8, 8, 1), dtype=np.uint8), np.arange(80) % 4
    middle = lb.Residual(width=4, depth=1, stages=2)
    settings: dict[str, Any] = {
        "teacher": lb.Residual(width=8, depth=1, stages=2).build((1, 8, 8), 4),
        "student": lambda: lb.Separable(width=4, depth=1, stages=1, stem_stride=1).build((1, 8, 8), 4),
        "train": train,
        "training": lb.Training(steps=2, batch_examples=16, evaluate_every_steps=2),
        "seeds": (0,),
        "controls": ("direct",),
        "evaluation": lb.Evaluation(bootstrap=100, robustness=False),
        "export": lb.Exports(formats=()),
        "plan": lb.Plan(),
    }
    chain = [lb.Assistant(model=middle, method=lb.KD(temperature=3)), lb.Assistant(model=middle)]
    run = lb.distill(**settings, assistants=chain, out=tmp_path / "run")
    assert [one.model for one in run.report.assistants] == ["residual", "residual"]
    assert run.report.assistants[0].parameters > run.report.student.parameters
    written = load(run.folder.recipe)
    assert written.assistants == tuple(chain)


@pytest.mark.parametrize(
    "model",
    [nn.Linear(2, 2), lambda: nn.Linear(2, 2), lb.Residual, {"kind": "object", "name": "Net", "digest": "0"}],
    ids=["module", "function", "class", "object"],
)
def test_what_lives_only_in_python_is_refused_as_an_assistant(model: Any) -> None:
    with pytest.raises(ValidationError, match=r"must be a model configuration such as Residual\(width=16\)"):
        lb.Assistant(model=model)
