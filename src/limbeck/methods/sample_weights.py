"""Weights of samples by what the teacher knows about them, after Zhang et al. (2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.probability import log_probs
from limbeck.methods.base import Method, Reads, Traced, answered
from limbeck.methods.wrapping import Modifier, weighted
from limbeck.types import Batch, Outputs, Terms


class SampleWeights(Modifier):
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

    def init(self, traced: Traced) -> nn.Module | None:
        check_units(self, self.of.weights(traced.teacher, traced.batch), traced.batch)
        return super().init(traced)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        each = self._each(answered(self, teacher), batch).float()
        return {name: given * each for name, given in self.of.weights(teacher, batch).items()}

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        terms = super().changed(student, teacher, batch, state)
        check_units(self, {name: term.values for name, term in terms.items()}, batch)
        return weighted(terms, self.weights(teacher, batch))

    def _each(self, teacher: Outputs, batch: Batch) -> Tensor:
        """One weight an example."""
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


def check_units(method: Method, units: Mapping[str, Tensor], batch: Batch) -> None:
    """See that terms have one unit an example.

    Args:
        method: The modifier that weighs examples.
        units: The values or the weights of each term.
        batch: What they belong to.

    Raises:
        MethodError: If a term has other units, or the answers are sequences.
    """
    if method.reads.sequences:
        raise MethodError(
            f"{type(method).__name__} weighs examples by one answer each, and the method inside reads logits in "
            "every frame of a sequence. Put that beside the modifier, not inside."
        )
    for name, unit in units.items():
        if unit.shape != (len(batch),):
            raise MethodError(
                f"{type(method).__name__} weighs examples, and the term {name!r} has values of the shape "
                f"{list(unit.shape)} for {len(batch)} examples. Put its method beside the modifier, not inside."
            )
