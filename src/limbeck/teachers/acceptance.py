"""What a teacher and its answers must be before anything is learned from them."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from limbeck.errors import TeacherError
from limbeck.types import Teacher

_NAMED: Final = 5


def check_classes(teacher: Teacher, classes: int) -> None:
    """Refuse a teacher that counts other classes than the data.

    Args:
        teacher: Live or stored.
        classes: How many the data has.

    Raises:
        TeacherError: If the counts differ.
    """
    if teacher.offer.classes != classes:
        raise TeacherError(
            f"The teacher answers for {teacher.offer.classes} classes, but the data has {classes}; "
            "expected the same "
            "classes in the same order. Give a teacher that was trained on these classes, or the data it "
            "was trained "
            "for."
        )


def check_logits(
    answer: object, *, examples: int, classes: int, owner: str, sequences: bool = False
) -> Tensor:
    """An answer, if it is a tensor of logits for these examples.

    Args:
        answer: What the model returned.
        examples: How many it was asked about.
        classes: How many it should answer for.
        owner: How an error names the teacher.
        sequences: Whether there should be a row of logits for each frame of an example.

    Raises:
        TeacherError: If it is anything else.
    """
    if not isinstance(answer, Tensor):
        raise TeacherError(
            f"{owner} answers with {type(answer).__name__}, expected one tensor of logits [batch, "
            f"{classes}]. "
            "Wrap it in a module that returns its logits."
        )
    if sequences and (answer.ndim != 3 or len(answer) != examples):
        raise TeacherError(
            f"{owner} answers with the shape {list(answer.shape)} for {examples} sequences, expected "
            f"[{examples}, frames, {classes}]. Wrap it in a module that returns one row of logits for each frame."
        )
    if not sequences and (answer.ndim != 2 or len(answer) != examples):
        raise TeacherError(
            f"{owner} answers with the shape {list(answer.shape)} for {examples} examples, expected "
            f"[{examples}, {classes}]. Wrap it in a module that returns one row of logits for each example."
        )
    if answer.shape[-1] != classes:
        raise TeacherError(
            f"{owner} answers for {answer.shape[-1]} classes, expected {classes}. Give a teacher of these "
            "classes, or "
            f"say classes={answer.shape[-1]}."
        )
    return answer


def check_finite(logits: Tensor, ids: Int[Tensor, " batch"], *, owner: str, cure: str) -> None:
    """Refuse logits that are infinite or not a number, naming the samples.

    Args:
        logits: ``[batch, classes]``, or ``[batch, frames, classes]``.
        ids: Of the samples.
        owner: How the error names the answers.
        cure: What the user can do.

    Raises:
        TeacherError: If any is not finite.
    """
    finite = torch.isfinite(logits).flatten(1).all(1)
    if bool(finite.all()):
        return
    bad = ids[~finite].tolist()
    named = ", ".join(str(sample) for sample in bad[:_NAMED])
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    raise TeacherError(
        f"{owner} must be finite, but NaN or infinity was the answer for sample {named}{more}. {cure}"
    )
