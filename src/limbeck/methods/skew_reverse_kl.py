"""Skew reverse KL: from a teacher with some of the student mixed in (Ko et al., 2024)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from limbeck.losses.mixtures import skew_reverse_kl
from limbeck.methods.response import Softened
from limbeck.types import Batch


class SkewReverseKL(Softened):
    """Match the teacher by reverse KL to a mixture with the student, which keeps the gradient bounded.

    The mode-seeking twin of ``skew-kl``, and the stronger of the two in the paper's experiments on language models.

    Helps:
        Where ``reverse-kl`` is wanted and trains unsteadily.

    Costs:
        Nothing but a pass over the logits.

    References:
        Ko, Kim, Chen & Yun, `DistiLLM <https://arxiv.org/abs/2402.03898>`_, 2024, section 3.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2402.03898"

    kind: Literal["skew-reverse-kl"] = "skew-reverse-kl"

    skew: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the student in the mixture; 0 is reverse KL."""

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return skew_reverse_kl(student, teacher, skew=self.skew, temperature=self.temperature)
