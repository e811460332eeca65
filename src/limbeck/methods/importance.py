"""Importance weights for a transfer set that is not what the student will meet (Sugiyama et al., 2012)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Reads, Traced, answered
from limbeck.methods.per_example import Weighing
from limbeck.methods.wrapping import AnyMethod
from limbeck.types import Batch, Outputs

_FEW: Final = 0.1
"""Below this share of a batch the weights leave so little of it that it is said."""


class Importance(Weighing):
    r"""Weigh samples by how much likelier they are where the student will be used than in the transfer set.

    .. math:: w(x) = \min\left(\frac{p_{target}(x)}{p_{transfer}(x)}, \, largest\right), \quad
              L = \frac{\sum_i w(x_i) \ell_i}{\sum_i w(x_i)}

    The ratio is that of a logistic classifier between the two sets on the teacher's logits :math:`z`,
    :math:`\exp(a \cdot z + b)`, which :meth:`fitted` makes; or it is given for each sample. A sum is divided by its
    weights (self-normalised), so only their balance matters. Nothing but weights changes: what never occurs in the
    transfer set is not learned. Without coefficients and weights all samples count alike. For methods that have one
    value an example.

    Helps:
        Where the transfer set is of another mix than what the student will meet, and overlaps with it.

    Costs:
        Nothing but a pass over the logits; uneven weights leave fewer samples that count.

    References:
        Sugiyama, Suzuki & Kanamori, `Density Ratio Estimation in Machine Learning
        <https://doi.org/10.1017/CBO9781139035613>`_, 2012, chapter 4 (by a classifier).
    """

    paper: ClassVar[str] = "https://doi.org/10.1017/CBO9781139035613"

    kind: Literal["importance"] = "importance"

    coefficients: tuple[float, ...] = ()
    """What the teacher's logits are multiplied by for the logarithm of the ratio, one number a class."""
    intercept: float = 0.0
    """What is added to it."""
    given: tuple[tuple[int, Annotated[float, Field(ge=0)]], ...] = ()
    """The weight of each sample by its id, in any unit: their mean counts as 1. It is multiplied by the ratio of the
    coefficients, where there are some."""
    largest: PositiveFloat = 10.0
    """Greater weights are cut to this: a few samples with large ones make every step depend on chance."""

    @model_validator(mode="after")
    def _positive(self) -> Importance:
        if self.given and not any(weight for _, weight in self.given):
            raise ValueError("given must hold a weight greater than 0; remove it, or give some")
        return self

    @classmethod
    def fitted(
        cls,
        of: AnyMethod,
        transfer: Float[Tensor, "samples classes"],
        target: Float[Tensor, "others classes"],
        *,
        largest: float = 10.0,
        penalty: float = 1.0,
    ) -> Importance:
        """The modifier with the ratio of two sets of the teacher's answers.

        Args:
            of: The method whose samples are weighed.
            transfer: The teacher's logits about samples of the transfer set.
            target: Its logits about samples, without labels, of where the student will be used.
            largest: As in the field.
            penalty: Of the classifier's squared coefficients, for logits of standard deviation 1.

        Raises:
            MethodError: If a set is empty or holds logits that are not finite.
        """
        from sklearn.linear_model import LogisticRegression

        both = torch.cat([transfer, target]).double().cpu()
        if not len(transfer) or not len(target) or not both.isfinite().all():
            raise MethodError(
                f"Importance.fitted needs finite logits of both sets, got {len(transfer)} and {len(target)} rows"
                f"{'' if both.isfinite().all() else ', some not finite'}. Give the teacher's answers to both."
            )
        centre, spread = both.mean(0), both.std(0, correction=0).clamp(min=1e-6)
        labels = torch.arange(len(both)) >= len(transfer)
        classifier = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000)
        classifier.fit(((both - centre) / spread).numpy(), labels.numpy())
        slopes = torch.from_numpy(classifier.coef_[0]) / spread
        prior = torch.tensor(len(transfer) / len(target), dtype=torch.float64).log()
        offset = float(classifier.intercept_[0]) - float(slopes @ centre) + float(prior)
        return cls(of=of, coefficients=tuple(slopes.tolist()), intercept=offset, largest=largest)

    @property
    def reads(self) -> Reads:
        reads = self.of.reads
        return replace(reads, teacher=reads.teacher or bool(self.coefficients))

    def init(self, traced: Traced) -> nn.Module | None:
        connectors = super().init(traced)
        classes = traced.student.logits.shape[-1]
        if self.coefficients and len(self.coefficients) != classes:
            raise MethodError(
                f"importance.coefficients holds {len(self.coefficients)} numbers, and there are {classes} classes, "
                "expected one a class. Fit them on this teacher's logits."
            )
        each = self.each(traced.teacher, traced.batch)
        count = effective_samples(each)
        if count < _FEW * len(each):
            warnings.warn(
                f"importance: the weights of the first batch are so uneven that its {len(each)} samples count as "
                f"{count:.1f}. Lower importance.largest (now {self.largest:g}), or add samples.",
                UserWarning,
                stacklevel=2,
            )
        return connectors

    def each(self, teacher: Outputs | None, batch: Batch) -> Float[Tensor, " batch"]:
        """One weight an example.

        Args:
            teacher: Its answers, where the ratio is made of them.
            batch: What they are about.

        Raises:
            MethodError: If a sample has no given weight.
        """
        ratio = torch.ones(len(batch), dtype=torch.float64, device=batch.labels.device)
        if self.coefficients:
            logits = answered(self, teacher).logits.double()
            slopes = torch.tensor(self.coefficients, dtype=torch.float64, device=logits.device)
            ratio = (logits @ slopes + self.intercept).exp()
        if self.given:
            ratio = ratio * _looked_up(self.given, batch)
        return ratio.clamp(max=self.largest).float()


def effective_samples(weights: Float[Tensor, " samples"]) -> float:
    r"""How many equally weighted samples some weighted ones are worth.

    .. math:: \frac{(\sum_i w_i)^2}{\sum_i w_i^2}

    Args:
        weights: Not negative, not all 0.

    Returns:
        Between 1 and their number; the number itself where all are equal.

    References:
        Kish, Survey Sampling, 1965, section 11.7.
    """
    wide = weights.double()
    return float(wide.sum() ** 2 / (wide**2).sum())


def _looked_up(given: tuple[tuple[int, float], ...], batch: Batch) -> Tensor:
    ids, weights = _table(given)
    asked = batch.ids.cpu()
    rows = torch.searchsorted(ids, asked).clamp(max=len(ids) - 1)
    unknown = asked[ids[rows] != asked]
    if len(unknown):
        raise MethodError(
            f"importance.given has no weight for the sample {int(unknown[0])}, expected one for each sample that the "
            "student is trained on. Add it."
        )
    return weights[rows].to(batch.labels.device)


@lru_cache(maxsize=4)
def _table(given: tuple[tuple[int, float], ...]) -> tuple[Tensor, Tensor]:
    """The ids in their order, and the weights over their mean."""
    ids = torch.tensor([sample for sample, _ in given])
    weights = torch.tensor([weight for _, weight in given], dtype=torch.float64)
    order = ids.argsort()
    return ids[order], (weights / weights.mean())[order]
