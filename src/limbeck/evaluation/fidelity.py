"""How closely a student follows its teacher, into its mistakes too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from limbeck.errors import DataError
from limbeck.evaluation.probabilities import check_labelled, check_logits, log_softmax


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A student beside its teacher."""

    agreement: float
    """Share of examples on which both predict the same class."""
    kl_nats: float
    """Mean KL divergence of the student from the teacher."""
    inherited_errors: float | None
    """Share of the teacher's mistakes that the student repeats; absent where the teacher makes none."""
    lost: int
    """Examples that the teacher gets right and the student wrong."""
    gained: int
    """Examples that the student gets right and the teacher wrong."""


def fidelity(
    student: Float[np.ndarray, "examples classes"],
    teacher: Float[np.ndarray, "examples classes"],
    labels: Int[np.ndarray, " examples"],
) -> Fidelity:
    """All numbers of one student against one teacher.

    Args:
        student: Its logits.
        teacher: Its logits on the same examples.
        labels: The right classes.

    Raises:
        DataError: If the three do not fit together or cannot be measured.
    """
    inherited = inherited_errors(student, teacher, labels)
    right, teacher_right = student.argmax(axis=1) == labels, teacher.argmax(axis=1) == labels
    return Fidelity(
        agreement=agreement(student, teacher),
        kl_nats=kl_nats(student, teacher),
        inherited_errors=inherited,
        lost=int((teacher_right & ~right).sum()),
        gained=int((right & ~teacher_right).sum()),
    )


def agreement(
    student: Float[np.ndarray, "examples classes"], teacher: Float[np.ndarray, "examples classes"]
) -> float:
    """Share of examples whose highest logit is the same class in both."""
    _check_pair(student, teacher)
    return float((student.argmax(axis=1) == teacher.argmax(axis=1)).mean())


def kl_nats(
    student: Float[np.ndarray, "examples classes"], teacher: Float[np.ndarray, "examples classes"]
) -> float:
    """Mean of KL(teacher ‖ student) in nats; infinite where the student rules out what it allows."""
    _check_pair(student, teacher)
    log_p, log_q = log_softmax(teacher), log_softmax(student)
    present = ~np.isneginf(log_p)  # 0 · log 0 = 0
    gap = np.subtract(log_p, log_q, out=np.zeros_like(log_p), where=present)
    return float((np.exp(log_p) * gap).sum(axis=1).mean())


def inherited_errors(
    student: Float[np.ndarray, "examples classes"],
    teacher: Float[np.ndarray, "examples classes"],
    labels: Int[np.ndarray, " examples"],
) -> float | None:
    """Share of the teacher's mistakes that the student repeats with the same wrong class.

    Returns:
        A share of 1, or None where the teacher makes no mistake. It says little alone: put the share of a
        student that never met the teacher beside it.
    """
    _check_pair(student, teacher)
    check_labelled(teacher, labels, owner="the teacher's logits")
    answer = teacher.argmax(axis=1)
    mistaken = answer != labels
    if not mistaken.any():
        return None
    return float((student.argmax(axis=1) == answer)[mistaken].mean())


def lost(
    student: Float[np.ndarray, "examples classes"],
    teacher: Float[np.ndarray, "examples classes"],
    labels: Int[np.ndarray, " examples"],
) -> dict[int, list[int]]:
    """The examples that the teacher gets right and the student wrong.

    Returns:
        For each class with any, in order of the class: row numbers, those first to whose right class the
        student gives the least probability.
    """
    _check_pair(student, teacher)
    check_labelled(student, labels, owner="the student's logits")
    rows = np.flatnonzero((teacher.argmax(axis=1) == labels) & (student.argmax(axis=1) != labels))
    chance = log_softmax(student)[rows, labels[rows]]
    ordered = rows[np.lexsort((rows, chance, labels[rows]))]
    return {int(name): ordered[labels[ordered] == name].tolist() for name in np.unique(labels[ordered])}


def _check_pair(
    student: Float[np.ndarray, "examples classes"], teacher: Float[np.ndarray, "examples classes"]
) -> None:
    check_logits(student, owner="the student's logits")
    check_logits(teacher, owner="the teacher's logits")
    if student.shape != teacher.shape:
        raise DataError(
            f"student and teacher must answer for the same examples and classes, got {student.shape} "
            f"and {teacher.shape}; give both the same rows and the same list of classes."
        )
