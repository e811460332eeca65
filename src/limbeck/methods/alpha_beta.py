"""Alpha-beta divergence: powers say which classes count (Wang et al., 2025)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import FiniteFloat
from torch import Tensor

from limbeck.losses.divergence import alpha_beta
from limbeck.methods.response import Softened
from limbeck.types import Batch


class AlphaBeta(Softened):
    """Match the teacher with two powers that say how much its likely classes and the student's mistakes count.

    (1, 0) is forward KL, (0, 1) reverse KL, (1/2, 1/2) the Hellinger distance. The defaults are the paper's for
    images, where the sum of the powers is 1.1; its code has no factor for the temperature and a weight of 32 to
    64 instead.

    Helps:
        Where neither forward nor reverse KL suits the student; it takes tuning of two powers.

    Costs:
        Nothing but a pass over the logits.

    References:
        Wang et al., `ABKD <https://arxiv.org/abs/2505.04560>`_, 2025.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2505.04560"

    kind: Literal["alpha-beta"] = "alpha-beta"

    teacher_power: FiniteFloat = 0.8
    """Larger ones care more for the classes that the teacher believes in."""

    student_power: FiniteFloat = 0.3
    """Larger ones care more for the classes that the student believes in."""

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return alpha_beta(
            student,
            teacher,
            teacher_power=self.teacher_power,
            student_power=self.student_power,
            temperature=self.temperature,
        )
