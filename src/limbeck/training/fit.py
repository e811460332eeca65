"""Whether student, teacher, method and data fit each other, found out on one batch before the first step."""

from __future__ import annotations

from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from limbeck.errors import DataError, MethodError, ModelError, TeacherError
from limbeck.methods.base import Method, Reads, Traced
from limbeck.recipe.plan import Execution
from limbeck.taps import layers
from limbeck.training.precision import autocast
from limbeck.training.terms import Batches, TeacherView, ask_student, ask_teacher, taken
from limbeck.types import ABSENT, Batch, Outputs, Teacher

_TRACED_ROWS: Final = 2


def bound(
    method: Method,
    student: nn.Module,
    teacher: Teacher | None,
    stream: Batches,
    *,
    view: TeacherView = "clean",
) -> Method:
    """The method with every layer it reads named, as the two models have them; neither model changes.

    Args:
        method: May leave its layers to the models.
        student: On any device.
        teacher: May be absent.
        stream: Gives a few inputs.
        view: What the teacher is asked about.
    """
    batch = stream.batch(0)
    module = None if teacher is None else teacher.offer.module
    asked = stream.clean(batch) if view == "clean" and module is not None else batch
    theirs = None if module is None else layers(module, _few(asked, module))
    return method.bind(layers(student, _few(batch, student)), theirs)


def trace(
    student: nn.Module,
    teacher: Teacher | None,
    stream: Batches,
    *,
    execution: Execution,
    device: torch.device,
    reads: Reads,
    view: TeacherView = "clean",
) -> Traced:
    """Ask both about the first batch; neither's weights, statistics or mode change.

    Args:
        student: Answers in eval mode, without gradients.
        teacher: Answers as it always does; may be absent.
        stream: Gives the batch.
        execution: How the student is computed.
        device: Where the student is.
        reads: What the method reads of the student.
        view: What the teacher is asked about.
    """
    given, batch = taken(stream, 0, device)
    modes = [(part, part.training) for part in student.modules()]
    student.eval()
    try:
        with torch.no_grad():
            seen = ask_student(
                student, batch.inputs, taps=reads.student_taps, execution=execution, device=device,
                sequences=reads.sequences,
            )  # fmt: skip
    finally:
        for part, mode in modes:
            part.training = mode
    answered = None if teacher is None else ask_teacher(teacher, stream, given, view=view, device=device)
    return Traced(
        batch=batch,
        student=seen,
        teacher=answered,
        student_model=student,
        teacher_model=None if teacher is None else teacher.offer.module,
        pool=stream.pool,
        computing=partial(autocast, execution, device=device),
    )


def check_fit(traced: Traced, teacher: Teacher | None) -> None:
    """Refuse what cannot train.

    Raises:
        DataError: If an input is infinite or not a number, or a label is outside the student's classes.
        ModelError: If the student's logits are not [batch, classes].
        TeacherError: If the teacher counts other classes than the student.
    """
    batch, logits = traced.batch, traced.student.logits
    if len(logits) != len(batch):
        raise ModelError(
            f"The student's logits have the shape {list(logits.shape)} for {len(batch)} examples, expected "
            f"[{len(batch)}, classes]. Pool or flatten before its last layer."
        )
    if not torch.isfinite(batch.inputs).all():
        raise DataError(
            "The first batch holds an input that is infinite or not a number. Clean the data, and check the "
            "preprocessing's mean and std."
        )
    classes = logits.shape[-1]
    _check_label_shape(batch, logits)
    _check_labels(batch, classes)
    if teacher is not None and traced.teacher is not None:
        _check_teacher(teacher, traced.teacher, classes)


def check_labels_occur(method: Method, stream: Batches, *, batches: int) -> None:
    """Refuse a method that learns from labels alone where the first batches hold none.

    Raises:
        MethodError: If there is nothing to learn from.
    """
    if method.reads.teacher or method.reads.labels == "none":
        return
    if any(bool(stream.batch(number).labelled.any()) for number in range(batches)):
        return
    raise MethodError(
        f"The method {method!r} learns from labels, and none of the first {batches} batches holds one. "
        "Label some samples (data.labelled), draw them more often (training.labelled_share), or add a method "
        "that reads the teacher (kd)."
    )


def _few(batch: Batch, model: nn.Module) -> Tensor:
    """A few inputs where the model is."""
    inputs = batch.inputs[:_TRACED_ROWS]
    return inputs.to(next(model.parameters(), inputs).device)


def _check_label_shape(batch: Batch, logits: Tensor) -> None:
    wanted = logits.ndim - 1
    if batch.labels.ndim != wanted:
        form = "[batch]" if wanted == 1 else f"[batch, length], filled up with {ABSENT}"
        raise DataError(
            f"The labels of the first batch have the shape {list(batch.labels.shape)}, expected {form}, for logits "
            f"of the shape {list(logits.shape)}. Give labels of this form, or another model."
        )


def _check_labels(batch: Batch, classes: int) -> None:
    labels = batch.labels[batch.labels != ABSENT]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ModelError(
            f"The student answers for {classes} classes, and the data has the label {int(wrong[0])}; "
            f"expected 0 to {classes - 1}. Build the student for as many classes as the data has."
        )


def _check_teacher(teacher: Teacher, answers: Outputs, classes: int) -> None:
    counts = {"offers": teacher.offer.classes}
    if answers.dense is not None:
        counts["answers for"] = answers.dense.shape[-1]
    for owner, count in counts.items():
        if count != classes:
            raise TeacherError(
                f"The teacher {owner} {count} classes, the student {classes}; expected the same classes "
                "in the same order. Give a teacher for this data, or build the student for its classes."
            )
    if answers.dense is not None and torch.isnan(answers.dense).any():
        raise TeacherError("The teacher answers with NaN. Check its weights and its preprocessing.")
