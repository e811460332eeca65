"""The stages of a run: what each depends on, what it leaves behind, and when it need not run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from limbeck.errors import UserError, nearest
from limbeck.pipeline.arms import student_arms
from limbeck.pipeline.assistants import (
    assistant_inputs,
    assistant_jobs,
    assistant_results,
    assistants_trained,
    train_assistants,
)
from limbeck.pipeline.check import check
from limbeck.pipeline.context import Context
from limbeck.pipeline.evaluate import evaluate
from limbeck.pipeline.events import Ended, Event, Started
from limbeck.pipeline.exporting import export
from limbeck.pipeline.fit import fit_key
from limbeck.pipeline.label import label, targets_whole
from limbeck.pipeline.planning import make_plan
from limbeck.pipeline.planning import work as planned_work
from limbeck.pipeline.reporting import report
from limbeck.pipeline.students import arm_names, jobs_of, open_jobs, ship, train_students, trained
from limbeck.pipeline.teacher import folds_trained, prepare_teacher, teacher_identity
from limbeck.types import digest


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a run."""

    name: str
    version: int
    """Raised when its code computes something else."""
    inputs: Callable[[Context], Any]
    """Everything its result depends on, as plain data."""
    work: Callable[[Context], Iterator[Event]]
    whole: Callable[[Context], bool]
    """Whether what it left behind is still there."""
    needed: Callable[[Context], bool] = lambda context: True
    """Whether the run has it at all."""

    def key(self, context: Context) -> str:
        """The hash of its inputs."""
        return digest([self.name, self.version, self.inputs(context)])


def _recipe(context: Context) -> Any:
    return [context.recipe.model_dump(mode="json"), context.data_digest]


def _label(context: Context) -> Any:
    return [teacher_identity(context), context.label_inputs]


def _controls(context: Context) -> Any:
    return _trainings(context, [name for name in arm_names(context.recipe) if name != "student"])


def _student(context: Context) -> Any:
    return _trainings(context, ["student"])


def _trainings(context: Context, names: list[str]) -> Any:
    keys = [fit_key(context, job) for name in names for job in jobs_of(context, name)]
    return [keys, list(context.recipe.seeds)]


def _results(context: Context) -> Any:
    students = [
        result.weights for name in arm_names(context.recipe) for _, result in trained(context, name).seeds
    ]
    weights = [*(result.weights for result in assistant_results(context)), *students]
    return [weights, teacher_identity(context), context.splits.test.digest, context.data_digest]


def _evaluation(context: Context) -> Any:
    settings = [context.recipe.evaluation.robustness, list(context.recipe.controls), context.plan.threads]
    return [_results(context), settings]


def _export(context: Context) -> Any:
    settings = [context.recipe.export.model_dump(mode="json"), context.recipe.evaluation.latency_repetitions]
    return [_results(context), settings, list(context.recipe.controls)]


def _report(context: Context) -> Any:
    stages = context.folder.stages()
    made = [stages.get(name, {}).get("made") for name in ("evaluate", "export")]
    return [_evaluation(context), _export(context), context.recipe.model_dump(mode="json"), made]


def _files(*names: str) -> Callable[[Context], bool]:
    return lambda context: all((context.folder.path / name).exists() for name in names)


def _all_trained(context: Context) -> bool:
    return assistants_trained(context) and not open_jobs(context, list(student_arms(context.recipe).values()))


def _taught(context: Context) -> bool:
    return folds_trained(context) and _files("teacher.json", "teacher/model.safetensors")(context)


def _answered(context: Context) -> bool:
    """Whether the teacher's answers are still there, or nobody needs them any more."""
    return _files("targets.json")(context) and (targets_whole(context) or _all_trained(context))


def _assisted(context: Context) -> bool:
    """Whether the assistants are trained, and their answers still there or not needed any more."""
    answered = all(targets_whole(context, job.arm) for job in assistant_jobs(context))
    return assistants_trained(context) and (answered or _all_trained(context))


def _shipped(context: Context) -> bool:
    return _all_trained(context) and _files("student/model.safetensors", "student/preprocessing.json")(
        context
    )


STAGES = (
    Stage("check", 1, _recipe, check, _files("check.json")),
    Stage("plan", 1, planned_work, make_plan, _files("plan.json")),
    Stage("teacher", 1, teacher_identity, prepare_teacher, _taught),
    Stage("label", 2, _label, label, _answered),
    Stage(
        "assistants",
        1,
        assistant_inputs,
        train_assistants,
        _assisted,
        needed=lambda context: bool(context.recipe.assistants),
    ),
    Stage(
        "baseline",
        1,
        _controls,
        lambda context: train_students(context, arm_names(context.recipe)),
        _all_trained,
    ),
    Stage("distil", 1, _student, ship, _shipped),
    Stage("evaluate", 1, _evaluation, evaluate, _files("evaluation/logits.npz", "evaluation/facts.json")),
    Stage("export", 1, _export, export, _files("exports.json")),
    Stage(
        "report", 2, _report, report, _files("report.json", "report.html", "MODEL_CARD.md", "provenance.json")
    ),
)
"""In the order they run. ``baseline`` trains the student's seeds too where that keeps all processes busy."""


def check_stage(name: str) -> None:
    """Refuse what is no stage.

    Raises:
        UserError: With the nearest names.
    """
    names = [stage.name for stage in STAGES]
    if name not in names:
        raise UserError(
            f"There is no stage {name!r}; the stages are {', '.join(names)}.{nearest(name, names)}"
        )


def run_stages(context: Context, *, until: str | None = None) -> Iterator[Event]:
    """Run what is not done, in order.

    Args:
        context: The run, its folder locked.
        until: The last stage to run; all by default.
    """
    for stage in STAGES:
        if stage.needed(context):
            yield from _run(context, stage, last=stage.name == until)
        if stage.name == until:
            return


def _run(context: Context, stage: Stage, *, last: bool) -> Iterator[Event]:
    # who asks for the answers alone wants them whole, though every training is done
    whole = targets_whole if last and stage.name == "label" else stage.whole
    key = stage.key(context)
    record = context.folder.stages().get(stage.name, {})
    if record.get("inputs") == key and record.get("state") == "done" and whole(context):
        yield Ended(stage.name, float(record["seconds"]), reused=True)
        return
    spent = float(record.get("seconds", 0.0)) if record.get("inputs") == key else 0.0
    context.folder.mark(stage.name, inputs=key, state="running", seconds=spent)
    yield Started(stage.name)
    began = time.perf_counter()
    yield from stage.work(context)
    seconds = round(spent + time.perf_counter() - began, 3)
    context.folder.mark(stage.name, inputs=key, state="done", seconds=seconds, made=round(time.time(), 3))
    yield Ended(stage.name, seconds)
