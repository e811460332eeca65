"""Ranking: the margin of the first item over each other (Hofstätter et al., 2020)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.ranking import margin_squared_error
from limbeck.methods.response import Response
from limbeck.types import Batch


class MarginMSE(Response):
    """Match the teacher's margins of a list's first item over each of the others.

    A row is a query; its first output is the score of the better item, the others those of worse ones. Blind to a
    constant added to the scores of a query, so that a cosine can learn from a cross-encoder.

    Helps:
        For retrieval, where teacher and student score on different scales.

    Costs:
        Nothing but a pass over the logits.

    References:
        Hofstätter, Althammer, Schröder, Sertkan & Hanbury, `Improving Efficient Neural Ranking Models with
        Cross-Architecture Knowledge Distillation <https://arxiv.org/abs/2010.02666>`_, 2020, section 3.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2010.02666"

    kind: Literal["margin-mse"] = "margin-mse"

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return margin_squared_error(*_sides(student), *_sides(teacher)).mean(-1)


def _sides(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The first item's score beside those of the others, as often as there are others."""
    others = scores[:, 1:]
    return scores[:, :1].expand_as(others), others
