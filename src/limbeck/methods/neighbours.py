"""Neighbourhoods of samples as distributions (Passalis & Tefas, 2018)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.similarity import probabilistic_transfer
from limbeck.methods.connectors import as_rows
from limbeck.methods.pairs import Coupled


class Neighbours(Coupled):
    """Give each sample the same neighbours in the batch as the teacher does, with the same probabilities.

    Nothing is trained beside the student, and widths may differ. The published weight of 30000 belongs to a mean over
    all pairs; over the samples, as here, it is that over the batch.

    Helps:
        For retrieval, where the student's features are compared with each other later.

    Costs:
        Products between the samples of a batch; no parameters. The teacher runs along, unless its layers are
        stored (``teacher.keep_taps``).

    References:
        Passalis & Tefas, `Learning Deep Representations with Probabilistic Knowledge Transfer
        <https://arxiv.org/abs/1803.10837>`_, 2018.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1803.10837"

    kind: Literal["neighbours"] = "neighbours"

    def value(self, student: Tensor, teacher: Tensor) -> Tensor:
        return probabilistic_transfer(as_rows(student), as_rows(teacher)).mean()
