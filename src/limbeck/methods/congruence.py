"""Correlation congruence: a kernel between samples, matched (Peng et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor

from limbeck.losses.similarity import correlation_congruence
from limbeck.methods.connectors import as_rows
from limbeck.methods.pairs import Coupled


class Congruence(Coupled):
    """Match the teacher's Gaussian kernel between the samples of a batch, expanded to the second order.

    Nothing is trained beside the student, and widths may differ. The paper draws batches with equal classes.

    Helps:
        Where how samples lie to each other matters more than where they lie, in batches with several of
        each class.

    Costs:
        Products between the samples of a batch; no parameters. The teacher runs along, unless its layers are
        stored (``teacher.keep_taps``).

    References:
        Peng, Jin, Liu, Zhou, Wu, Liu, Li & Zhang, `Correlation Congruence for Knowledge Distillation
        <https://arxiv.org/abs/1904.01802>`_, 2019.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1904.01802"

    kind: Literal["congruence"] = "congruence"

    gamma: PositiveFloat = 0.4
    """Inverse squared width of the kernel: larger looks at closer neighbours."""

    def value(self, student: Tensor, teacher: Tensor) -> Tensor:
        return correlation_congruence(as_rows(student), as_rows(teacher), gamma=self.gamma)
