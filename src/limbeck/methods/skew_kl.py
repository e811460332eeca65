"""Skew KL: forward KL from a student with some of the teacher mixed in (Ko et al., 2024)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from limbeck.losses.mixtures import skew_kl
from limbeck.methods.response import Softened
from limbeck.types import Batch


class SkewKL(Softened):
    """Match the teacher by forward KL to a mixture with it, which keeps the gradient bounded.

    Where the student gives almost nothing to a class of the teacher, forward KL pulls without bound; the mixture does
    not. The published temperature is 1, for language models.

    Helps:
        Where forward KL is unsteady because the student gives almost nothing to some classes.

    Costs:
        Nothing but a pass over the logits.

    References:
        Ko, Kim, Chen & Yun, `DistiLLM <https://arxiv.org/abs/2402.03898>`_, 2024, section 3.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2402.03898"

    kind: Literal["skew-kl"] = "skew-kl"

    skew: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the teacher in the mixture; 0 is forward KL."""

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return skew_kl(student, teacher, skew=self.skew, temperature=self.temperature)
