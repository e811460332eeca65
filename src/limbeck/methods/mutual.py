"""Students that teach each other (Zhang et al., 2018)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.methods.peers import PeerMethod


class Mutual(PeerMethod):
    r"""Train students together, each on the mean of its KL divergences from the others (DML).

    .. math:: \frac{1}{K - 1} \sum_{j \ne i} KL(p_j \| p_i)

    for student :math:`i` of :math:`K`; no gradient flows into :math:`p_j`. All are updated at once; the paper updates
    them in turn.

    Helps:
        Without a teacher, where there is memory for several students.

    Costs:
        Every peer is a whole student more in each step; one ships.

    References:
        Zhang, Xiang, Hospedales & Lu, `Deep Mutual Learning <https://arxiv.org/abs/1706.00384>`_, 2018,
        section 3.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1706.00384"

    kind: Literal["mutual"] = "mutual"

    def learned(self, logits: Tensor, answers: Tensor, number: int) -> Tensor:
        others = [other for place, other in enumerate(answers) if place != number]
        apart = [forward_kl(logits, other, temperature=self.temperature) for other in others]
        return torch.stack(apart).mean(0)
