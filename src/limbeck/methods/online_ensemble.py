"""Students that learn from what they say together (Guo et al., 2020)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.losses.ensemble import mean_logit, mean_probability
from limbeck.methods.peers import PeerMethod


class OnlineEnsemble(PeerMethod):
    """Train students together, each on the KL divergence from the mean of all their answers (KDCL).

    The mean is that of the same batch and gets no gradient. The paper proposes four ways to make one teacher of many;
    this is the plain mean that it starts from.

    Helps:
        Without a teacher, as ``mutual``; the mean is a steadier target than each peer.

    Costs:
        Every peer is a whole student more in each step; one ships.

    References:
        Guo, Wang, Wu, Yu, Liang, Hu & Luo, `Online Knowledge Distillation via Collaborative Learning
        <https://openaccess.thecvf.com/content_CVPR_2020/html/Guo_Online_Knowledge_Distillation_via_Collaborative_Learning_CVPR_2020_paper.html>`_,
        2020, section 3.
    """

    paper: ClassVar[str] = (
        "https://openaccess.thecvf.com/content_CVPR_2020/html/"
        "Guo_Online_Knowledge_Distillation_via_Collaborative_Learning_CVPR_2020_paper.html"
    )

    kind: Literal["online-ensemble"] = "online-ensemble"
    temperature: PositiveFloat = 2.0
    """Softens all answers. What is learned from the mean is multiplied by its square."""
    mean: Literal["logit", "probability"] = "logit"
    """Of what the mean is taken."""

    def learned(self, logits: Tensor, answers: Tensor, number: int) -> Tensor:
        if self.mean == "logit":
            together = mean_logit(answers)
        else:
            together = mean_probability(answers, temperature=self.temperature)
        return forward_kl(logits, together, temperature=self.temperature)
