"""Ordinal distillation: the distance that probability has to be carried (Hou et al., 2016)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.ordinal import squared_emd
from limbeck.methods.response import Softened
from limbeck.types import Batch


class Ordinal(Softened):
    """Match the teacher's distribution over ordered classes, where near misses cost less.

    The squared earth mover's distance. For grades, ages, stages; for classes without an order it means nothing.

    Helps:
        For classes with an order, such as grades, ages and stages; not for others.

    Costs:
        A running sum over the classes.

    References:
        Hou, Yu & Samaras, `Squared Earth Mover's Distance-based Loss for Training Deep Neural Networks
        <https://arxiv.org/abs/1611.05916>`_, 2016.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1611.05916"

    kind: Literal["ordinal"] = "ordinal"

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return squared_emd(student, teacher, temperature=self.temperature)
