"""Weights of samples by what the teacher knows about them, after Zhang et al. (2020)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from limbeck.losses.probability import log_probs
from limbeck.methods.base import Reads, answered
from limbeck.methods.per_example import Weighing
from limbeck.types import Batch, Outputs


class SampleWeights(Weighing):
    r"""Weigh samples by the teacher: less where it is unsure, or where the label says that it is wrong.

    .. math:: w = \max_c p_c, \quad 1 + \frac{1}{\log C} \sum_c p_c \log p_c, \quad \text{or} \;
              \mathbb{1}[\arg\max_c p_c = y]

    for ``confidence``, ``entropy`` and ``teacher-correct``, with the teacher's probabilities at a temperature of 1.
    Only the balance between samples changes: a term is still divided by the sum of its weights, so equal weights are
    none. The paper learns the weights from an uncertainty that the student predicts; these follow from the teacher's
    answers. For methods that have one value an example.

    Helps:
        Where some of the teacher's answers are wrong or of no use.

    Costs:
        Nothing but a pass over the logits.

    References:
        Zhang, Lan, Dai, Zeng, Bai, Chang & Wei, `Prime-Aware Adaptive Distillation
        <https://arxiv.org/abs/2008.01458>`_, 2020.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2008.01458"

    kind: Literal["sample-weights"] = "sample-weights"

    by: Literal["confidence", "entropy", "teacher-correct"] = "confidence"
    """``confidence``: the teacher's largest probability. ``entropy``: 1 minus its entropy, as a share of the
    largest possible one. ``teacher-correct``: 1 where its largest class is the label or there is no label, else
    ``wrong_weight``."""
    wrong_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The weight of a sample on which the teacher is wrong, with ``teacher-correct``; 0 leaves such samples out."""

    @property
    def reads(self) -> Reads:
        reads = replace(super().reads, teacher=True)
        return replace(reads, labels="some") if self.by == "teacher-correct" else reads

    def each(self, teacher: Outputs | None, batch: Batch) -> Float[Tensor, " batch"]:
        """One weight an example."""
        return self._by(answered(self, teacher), batch).float()

    def _by(self, teacher: Outputs, batch: Batch) -> Tensor:
        if self.by == "teacher-correct":
            wrong = batch.labelled & (teacher.logits.argmax(-1) != batch.labels)
            return self.wrong_weight + (1 - self.wrong_weight) * (~wrong).float()
        log_p = log_probs(teacher.logits)
        if self.by == "confidence":
            return log_p.amax(-1).exp()
        absent = log_p.isneginf()
        entropy = -(log_p.exp() * log_p.masked_fill(absent, 0.0)).sum(-1)
        largest = (~absent).sum(-1).to(log_p.dtype).log()
        return (1 - entropy / largest.masked_fill(largest == 0, 1.0)).clamp(min=0.0)
