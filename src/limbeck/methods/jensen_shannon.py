"""Generalised Jensen-Shannon divergence: between forward and reverse KL (Agarwal et al., 2024)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from limbeck.losses.mixtures import jensen_shannon
from limbeck.methods.response import Softened
from limbeck.types import Batch


class JensenShannon(Softened):
    """Match a mixture of teacher and student, between forward and reverse KL.

    Bounded, so that single outliers cannot rule the gradient. Divided by both shares it has the two KLs as its
    limits, which makes its weight comparable to theirs; the published code is not normalised, and jumps at the
    ends.

    Helps:
        Where the teacher is sometimes badly wrong, because one example cannot pull without bound.

    Costs:
        Nothing but a pass over the logits.

    References:
        Agarwal et al., `On-Policy Distillation of Language Models <https://arxiv.org/abs/2306.13649>`_, 2024,
        section 2.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2306.13649"

    kind: Literal["jensen-shannon"] = "jensen-shannon"

    teacher_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the teacher in the mixture: near 0 it acts as forward KL, near 1 as reverse KL."""

    normalised: bool = True
    """Divide by both shares, so that a change of the share does not change the size of the term."""

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return jensen_shannon(
            student,
            teacher,
            teacher_share=self.teacher_share,
            normalised=self.normalised,
            temperature=self.temperature,
        )
