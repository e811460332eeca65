"""The teacher stage: train the teacher from the recipe, or take the one that is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from limbeck.files import write_json
from limbeck.models import check_answers, load_weights, save_student
from limbeck.pipeline.answering import student_of
from limbeck.pipeline.arms import TEACHER, Job, fold_jobs
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event, Noted
from limbeck.pipeline.fit import fit, fit_key, logged, result_of
from limbeck.pipeline.objects import identity
from limbeck.pipeline.predict import accuracy_of
from limbeck.types import ABSENT

TEACHER_JOB = Job(TEACHER, 0, 0)


def prepare_teacher(context: Context) -> Iterator[Event]:
    """Leave a teacher in ``teacher/`` and what it reaches on validation data in ``teacher.json``.

    Raises:
        ModelError: If it cannot take the inputs, or does not fit the data's classes.
    """
    folder = context.folder.path / "teacher"
    module = given_teacher(context)
    if module is None:
        yield from logged(context, fit(context, str(TEACHER_JOB)))
        module = student_of(context, TEACHER_JOB)
        for job in fold_jobs(context.recipe):
            yield from logged(context, fit(context, str(job)))
    else:
        check_answers(module.eval(), context.shape, len(context.classes), owner="the teacher")
    model = context.recipe.teacher.model
    save_student(folder, module, config=model, shape=context.shape, classes=len(context.classes))
    context.forget_teacher()
    accuracy = accuracy_of(
        module.to(context.device).eval(),
        context.splits.validation,
        context.preprocessing,
        context.plan.label,
        context.device,
    )
    weakness = weak(context, accuracy)
    result = result_of(context, TEACHER_JOB)
    folds = [found.validation for job in fold_jobs(context.recipe) if (found := result_of(context, job))]
    facts = {
        "validation": accuracy,
        "folds": folds,
        "trained": result is not None,
        "labels": labels_of(context) if result is not None else 0,
        "seconds": result.seconds if result is not None else 0.0,
        "warnings": [weakness] if weakness else [],
    }
    write_json(context.folder.path / "teacher.json", facts)
    if weakness:
        yield Noted("teacher", weakness, warning=True)


def weak(context: Context, accuracy: float) -> str | None:
    """A sentence where the teacher is no better than always answering the commonest class."""
    labels = context.splits.validation.labels
    majority = float(labels.bincount().max()) / len(labels)
    if accuracy > majority:
        return None
    return (
        f"The teacher is weak: {accuracy:.4f} on validation data, where always answering the commonest class "
        f"gets {majority:.4f}. Check its preprocessing, the order of its classes, and its weights."
    )


def teacher_identity(context: Context) -> dict[str, Any]:
    """What the teacher depends on: its training, or where it comes from."""
    module = given_teacher(context)
    if module is not None:
        return {"module": identity(lambda: module, context.shape), "data": context.data_digest}
    folds = [fit_key(context, job) for job in fold_jobs(context.recipe)]
    return {"fit": fit_key(context, TEACHER_JOB), **({"folds": folds} if folds else {})}


def folds_trained(context: Context) -> bool:
    """Whether every fold has its teacher."""
    return all(result_of(context, job) is not None for job in fold_jobs(context.recipe))


def labels_of(context: Context) -> int:
    """How many training samples have a label: what a teacher that is trained here sees."""
    return int((context.splits.train.labels != ABSENT).sum())


def given_teacher(context: Context) -> nn.Module | None:
    """The teacher that comes trained, with its weights; none where the recipe trains it."""
    if context.objects.teacher is not None:
        return context.objects.teacher
    if not context.recipe.teacher.given:
        return None
    module = context.teacher_factory()
    if context.recipe.teacher.weights is not None:
        load_weights(module, context.recipe.teacher.weights)
    return module
