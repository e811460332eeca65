"""Logit standardisation (Sun et al., 2024)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final, Literal

from pydantic import field_validator
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.logits import standardised
from limbeck.methods.base import Traced
from limbeck.methods.wrapping import Modifier, comparing_logits, with_logits
from limbeck.types import Batch, Outputs, Terms

_LEAST_CLASSES: Final = 3
_ADVISED_CLASSES: Final = 10


class Standardise(Modifier):
    """Compare logits of mean 0 and standard deviation 1 in every row, on both sides.

    The student then need not reach the teacher's scale, only its shape; how sure the teacher is of one example and of
    another is lost. Published with ``kd`` at a temperature of 2 and a weight of 9, beside ``ce`` at 0.1: the terms
    are smaller than those of raw logits. The student's own scale is left free, so calibrate it afterwards.

    Helps:
        Where the teacher's logits are far larger than the student's can be; not with very few classes.

    Costs:
        A mean and a deviation for each row; probabilities have to be calibrated afterwards.

    References:
        Sun, Ren, Li, Wang & Cao, `Logit Standardization in Knowledge Distillation
        <https://arxiv.org/abs/2403.01427>`_, 2024, section 4.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2403.01427"

    kind: Literal["standardise"] = "standardise"

    _compares = field_validator("of")(comparing_logits)

    def shown(self, traced: Traced) -> Traced:
        """The same with standardised logits.

        Raises:
            MethodError: If there are fewer than three classes.
        """
        _check_classes(traced.student.logits.shape[-1])
        teacher = traced.teacher
        return replace(
            traced,
            student=with_logits(traced.student, standardised),
            teacher=None if teacher is None else with_logits(teacher, standardised),
        )

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return self.of.weights(None if teacher is None else with_logits(teacher, standardised), batch)

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        ours = with_logits(student, standardised)
        theirs = None if teacher is None else with_logits(teacher, standardised)
        return super().changed(ours, theirs, batch, state)


def _check_classes(classes: int) -> None:
    if classes < _LEAST_CLASSES:
        raise MethodError(
            f"standardise needs at least {_LEAST_CLASSES} classes, got {classes}: with two, every row becomes "
            "(1, -1) or (-1, 1), and nothing is left of the teacher but its choice. Take the method without it."
        )
    if classes < _ADVISED_CLASSES:
        warnings.warn(
            f"standardise takes the offset and the scale out of {classes} logits, which leaves {classes - 2} numbers "
            f"of {classes - 1} that count; it was published for 100 classes and more. Below {_ADVISED_CLASSES}, "
            "compare with the method without it.",
            UserWarning,
            stacklevel=2,
        )
