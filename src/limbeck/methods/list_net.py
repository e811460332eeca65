"""Ranking: which item of a list comes first (Cao et al., 2007)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.ranking import list_kl
from limbeck.methods.response import Softened
from limbeck.types import Batch


class ListNet(Softened):
    """Match the teacher's distribution over which item of a list comes first.

    A row is a query and its outputs are the scores of its items. The scales of both scores count; see
    ``margin-mse`` where they differ.

    Helps:
        For rankers whose teacher's scores are on a scale that the student can have.

    Costs:
        Nothing but a pass over the logits.

    References:
        Cao, Qin, Liu, Tsai & Li, `Learning to Rank: From Pairwise Approach to Listwise Approach
        <https://doi.org/10.1145/1273496.1273513>`_, 2007.
    """

    paper: ClassVar[str] = "https://doi.org/10.1145/1273496.1273513"

    kind: Literal["list-net"] = "list-net"

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return list_kl(student, teacher, temperature=self.temperature)
