"""Regression: the teacher's numbers as targets."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor

from limbeck.losses.regression import huber, squared_error
from limbeck.methods.response import Response
from limbeck.types import Batch


class Regression(Response):
    """Match the teacher's predicted numbers, by their squared differences or a Huber loss.

    For models whose outputs are numbers, in units in which 1 is a typical error: scale the targets first.

    Helps:
        For models that predict numbers, on samples without a label too.

    Costs:
        Nothing but a pass over the logits.

    References:
        Chen, Choi, Yu, Han & Chandraker, `Learning Efficient Object Detection Models with Knowledge
        Distillation <https://papers.nips.cc/paper/6676>`_, 2017.
    """

    paper: ClassVar[str] = "https://papers.nips.cc/paper/6676"

    kind: Literal["regression"] = "regression"

    linear_from: PositiveFloat | None = None
    """Difference from which on the loss grows linearly (Huber); null: squared throughout."""

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return (
            squared_error(student, teacher)
            if self.linear_from is None
            else huber(student, teacher, delta=self.linear_from)
        )
