"""A few classes of each answer: the likeliest, drawn ones, or both."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import torch
from numpy.typing import DTypeLike
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from limbeck.data.counter import hashed
from limbeck.losses.probability import log_probs
from limbeck.losses.sparse import buckets, top_k_of
from limbeck.teachers.store.kinds import COMPUTED, Kind, apart, largest
from limbeck.teachers.store.packing import Records, column, whole_numbers
from limbeck.types import Few, Outputs, Sparse

_SHORT_CLASSES: Final = 65536
_HALF_UNIT: Final = 2.0**-11
_OTHERWISE_DRAWN: Final = 0.02
"""Share of the draws that the last bits of a probability may turn."""


class SparseKind(Kind):
    """What is kept is of a few classes."""

    @abstractmethod
    def few(self, classes: int) -> Few:
        """Of how many."""

    def layout(self, classes: int) -> np.dtype[np.void]:
        few, number = self.few(classes), class_format(classes)
        fields: list[tuple[str, DTypeLike, tuple[int, ...]]] = []
        if few.likeliest:
            k = min(few.likeliest, classes)
            fields += [("classes", number, (k,)), ("log_probs", "<f2", (k,)), ("tail", "<f2", ())]
        if few.draws:
            fields.append(("drawn", number, (few.draws,)))
        if few.draws and few.draw_temperature != 1.0:
            fields.append(("weights", "<f4", (few.draws,)))
        return np.dtype(fields)

    def encode(self, answers: Outputs, ids: Tensor, view: int) -> Records:
        logits = answers.logits.double()
        count = logits.shape[1]
        few = self.few(count)
        records = np.zeros(len(logits), self.layout(count))
        others = log_probs(logits)
        if few.likeliest:
            classes, kept = top_k_of(logits, min(few.likeliest, count))
            records["classes"], records["log_probs"] = classes.numpy(), kept.half().numpy()
            records["tail"] = buckets(others, classes)[:, -1].half().numpy()
            others = others.scatter(1, classes, -torch.inf)
        if few.draws:
            drawn, weights = self.draw(others, ids, view, few)
            records["drawn"] = drawn.numpy()
            if few.draw_temperature != 1.0:
                records["weights"] = weights.numpy()
        return records

    def decode(self, records: Records, classes: int) -> Outputs:
        few = self.few(classes)
        of, kept, tail = self._likeliest(records, few)
        drawn, weights = self._drawn(records, few, tail)
        return Outputs(None, sparse=Sparse(of, kept, tail, drawn, weights))

    def _likeliest(self, records: Records, few: Few) -> tuple[Tensor, Tensor, Tensor]:
        if few.likeliest:
            whole = whole_numbers(records, "classes")
            return whole, column(records, "log_probs").float(), column(records, "tail").float()
        return torch.empty(len(records), 0).long(), torch.empty(len(records), 0), torch.zeros(len(records))

    def _drawn(self, records: Records, few: Few, tail: Tensor) -> tuple[Tensor, Tensor]:
        if not few.draws:
            return torch.empty(len(records), 0, dtype=torch.long), torch.empty(len(records), 0)
        drawn = whole_numbers(records, "drawn")
        if few.draw_temperature != 1.0:
            return drawn, column(records, "weights")
        return drawn, (tail.exp() / few.draws)[:, None].expand(drawn.shape)

    def difference(self, held: Outputs, new: Outputs, ids: Tensor, view: int) -> Tensor:
        log_p = log_probs(new.logits.double())
        few, sparse = self.few(log_p.shape[1]), known(held)
        if few.likeliest:
            # of the same classes: of two that are almost equally likely, another processor may keep the other one
            now = buckets(log_p, sparse.classes).float()
            return apart(torch.cat([sparse.log_probs, sparse.tail[:, None]], 1), now)
        drawn, _ = self.draw(log_p, ids, view, few)
        return (drawn != sparse.drawn).float().mean(1)

    def allowed(self, new: Outputs) -> float:
        if not self.few(new.logits.shape[1]).likeliest:
            return _OTHERWISE_DRAWN
        return self.bound(new) + COMPUTED * max(largest(new.logits), largest(log_probs(new.logits)))

    def bound(self, answers: Outputs) -> float:
        if not self.few(answers.logits.shape[1]).likeliest:
            return 0.0
        return max(largest(log_probs(answers.logits.double())) * _HALF_UNIT, 2.0**-25)

    def draw(self, others: Tensor, ids: Tensor, view: int, few: Few) -> tuple[Tensor, Tensor]:
        """Classes drawn from what is left, by the inverse of its distribution, and what each of them weighs.

        Args:
            others: Log-probabilities, ``-inf`` for what is kept already.
            ids: Of the samples: the numbers that draw are a hash of the seed, the view and the id.
            view: Which view.
            few: How many, and at which temperature.
        """
        empty = others.amax(1, keepdim=True).isneginf()
        heated = (others / few.draw_temperature).masked_fill(empty, 0.0).log_softmax(1)
        summed = heated.exp().cumsum(1)
        within = uniform64(hashed(self.draw_seed, view, ids, draws=few.draws)) * summed[:, -1:]
        last = (summed < summed[:, -1:]).sum(1, keepdim=True)  # nothing behind it has any mass
        drawn = torch.minimum(torch.searchsorted(summed, within, right=True), last)
        weights = (others.gather(1, drawn) - heated.gather(1, drawn)).exp() / few.draws
        return drawn, weights.float()

    @property
    def draw_seed(self) -> int:
        """Seeds the draws."""
        return 0


class TopKAnswers(SparseKind):
    """The likeliest classes with their log-probabilities, and the mass of all others together."""

    unit: ClassVar[str] = "nats"

    kind: Literal["top-k"] = "top-k"

    k: PositiveInt = 32
    """Classes that are kept; at most all."""

    def few(self, classes: int) -> Few:
        return Few(likeliest=self.k)


class Drawing(SparseKind):
    """What the kinds that draw have in common."""

    draws: Annotated[PositiveInt, Field(le=4096)] = 50
    """Classes drawn for each answer, with replacement."""

    draw_temperature: PositiveFloat = 1.0
    """Of the distribution that is drawn from; other than 1, the weight of each draw is kept too, which leaves the
    draws unbiased."""

    seed: int = 0
    """Seeds the draws, with the view and the id of a sample."""

    @property
    def draw_seed(self) -> int:
        return self.seed


class TopKSampledAnswers(Drawing):
    """The likeliest classes exactly, and classes drawn from all others: unbiased, and of small variance."""

    unit: ClassVar[str] = "nats"

    kind: Literal["top-k-sampled"] = "top-k-sampled"

    k: PositiveInt = 16
    """Classes that are kept; at most all."""

    def few(self, classes: int) -> Few:
        return Few(self.k, self.draws, self.draw_temperature)


class SampledAnswers(Drawing):
    """Classes drawn from the whole answer (Anshumann et al., `Sparse Logit Sampling
    <https://arxiv.org/abs/2503.16870>`_, 2025).
    """

    unit: ClassVar[str] = "of the draws"

    kind: Literal["sampled"] = "sampled"

    def few(self, classes: int) -> Few:
        return Few(0, self.draws, self.draw_temperature)


def class_format(classes: int) -> str:
    """The smallest unsigned number that can name every class."""
    return "<u2" if classes <= _SHORT_CLASSES else "<u4"


def known(answers: Outputs) -> Sparse:
    """The few classes of answers of a kind that keeps few."""
    if answers.sparse is None:
        raise TypeError("these answers are whole")
    return answers.sparse


def uniform64(bits: Tensor) -> Tensor:
    """Hashes of 63 bits as float64 in ``[0, 1)``, from their upper 53 bits: fine enough for rare classes."""
    return (bits >> 10).double() * 2.0**-53
